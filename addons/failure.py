"""What went wrong with one attempt at a provider: a word for log and metrics, whom it speaks against, what it means.

Clients never see the kind: for them a provider that cannot be reached is one thing.
"""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

# A provider that asks for more patience than this is asked again after this long all the same, in seconds.
LONGEST_RETRY_AFTER = 3600.0
# These speak against the key that was used; all others against the provider.
KEY_STATUSES = frozenset((401, 402, 403, 429))
# 529 is how Anthropic says that it is overloaded.
ORIGIN_STATUSES = frozenset((408, 500, 502, 503, 504, 529))


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    `kind` is one word of few (see `of_answer`, `of_connect_error`). The worker is blamed for limits of our own.
    `may_have_acted` is False if the provider surely has not begun to work on the request. `status` is 0 without an
    answer, `retry_after` in seconds if it said so.
    """

    kind: str
    blames: Literal["origin", "key", "worker"]
    may_have_acted: bool
    status: int = 0
    retry_after: float | None = None


CLOSED = Failure("closed", "origin", may_have_acted=True)
GARBLED = Failure("protocol", "origin", may_have_acted=True)
FIRST_BYTE_TIMEOUT = Failure("first_byte_timeout", "origin", may_have_acted=True)
CONNECT_TIMEOUT = "connect timeout"
# The worker's own limit, not the provider's fault.
CROWDED = "too many connections to this provider"

# What asyncio, the resolver and mitmproxy's TLS layer say, in the order in which it is looked for.
_CONNECT_ERRORS = (
    (CONNECT_TIMEOUT, "connect_timeout"),
    (CROWDED, "crowded"),
    ("connection cancelled", "connect_timeout"),
    ("Errno -", "dns"),
    ("getaddrinfo", "dns"),
    ("ertificate", "tls"),
    ("TLS", "tls"),
    ("SSL", "tls"),
    ("Errno 111", "refused"),
    ("Errno 101", "unreachable"),
    ("Errno 113", "unreachable"),
)


def of_connect_error(message: str) -> Failure:
    """Return the failure behind an error while connecting: dns, refused, unreachable, tls, connect_timeout, connect.

    Or crowded: then the worker itself has refused to connect.
    """
    kind = next((kind for part, kind in _CONNECT_ERRORS if part in message), "connect")
    return Failure(kind, "worker" if kind == "crowded" else "origin", may_have_acted=False)


def of_answer(status: int, headers: Mapping[str, str], now: datetime) -> Failure | None:
    """Return the failure that an answer's status means, None if the answer is the caller's business alone."""
    if status in KEY_STATUSES:
        return Failure(f"status_{status}", "key", False, status, retry_after(headers, now))
    if status in ORIGIN_STATUSES:
        return Failure(f"status_{status}", "origin", True, status, retry_after(headers, now))
    return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that an answer asks to wait (RFC 9110 section 10.2.3), None if it does not or is unreadable.

    OpenAI's `retry-after-ms` is more exact and wins.
    """
    seconds = _number(headers.get("retry-after-ms", ""), 1000) or _number(headers.get("retry-after", ""), 1)
    if seconds is None:
        seconds = _seconds_until(headers.get("retry-after", ""), now)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _number(text: str, divisor: int) -> float | None:
    is_plain = text.isascii() and text.replace(".", "", 1).isdecimal() and len(text) < 16
    return float(text) / divisor if is_plain else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
