"""A quicker check of headers and lengths, which mitmproxy's layers do several times for each request.

What is ordinary is told by names that have been looked at before; all else goes through mitmproxy's own check.
"""

import enum
from functools import lru_cache

from mitmproxy.http import Message
from mitmproxy.net.http import validate
from mitmproxy.proxy.layers import http

_check = validate.validate_headers
# The same few lengths come again and again.
parse_content_length = lru_cache(maxsize=4096)(validate.parse_content_length)


class Kind(enum.Enum):
    """What a header's name says about the check of its message."""

    ORDINARY = enum.auto()
    LENGTH = enum.auto()
    SPECIAL = enum.auto()


@lru_cache(maxsize=4096)
def _kind(name: bytes) -> Kind:
    if not validate._valid_header_name.match(name) or name.lower() == b"transfer-encoding":
        return Kind.SPECIAL
    return Kind.LENGTH if name.lower() == b"content-length" else Kind.ORDINARY


def validate_headers(message: Message) -> None:
    """Do what mitmproxy's `validate_headers` does. Raises ValueError."""
    length: bytes | None = None
    for name, value in message.headers.fields:
        kind = _kind(name)
        if kind is Kind.ORDINARY:
            continue
        if kind is Kind.SPECIAL or length is not None:
            _check(message)
            return
        length = value
    if length is not None:
        parse_content_length(length)


def install() -> None:
    """Put them in mitmproxy's place, for the life of this process."""
    validate.parse_content_length = parse_content_length
    validate.validate_headers = validate_headers
    http.validate_headers = validate_headers  # type: ignore[attr-defined]
