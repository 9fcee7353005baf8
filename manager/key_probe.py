"""Asks a provider whether it takes a key, with the cheapest request that its route table knows. Costs nothing there."""

import time
from dataclasses import dataclass
from typing import Literal

import requests

from manager import local_http
from shared.providers import Provider, Route

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
_REFUSED = frozenset((401, 402, 403))
# What the dialect wants beside the key; Anthropic answers 400 without it.
_HEADERS = {"anthropic": {"anthropic-version": "2023-06-01"}}

type State = Literal["ok", "refused", "limited", "unreachable", "unclear"]


@dataclass(frozen=True)
class ProbeResult:
    """What came of it: `refused` and `limited` speak against the key, `unreachable` and `unclear` say nothing of it.

    `reason` is one word as of a breaker (`status_401`, `refused`, `tls`), `status` that of the answer, 0 without one.
    """

    state: State
    reason: str = ""
    status: int = 0
    milliseconds: float = 0.0


def probe(
    base_url: str,
    provider: Provider,
    api_key: str,
    *,
    verify: str | bool = True,
    cert: str | None = None,
    seconds: float = ANSWER_SECONDS,
) -> ProbeResult:
    """Ask at a base URL ("": the provider's own), following no redirect: it would carry the key elsewhere.

    `verify` is a file of authorities or True for the public ones, `cert` a file with our own key and certificate.
    """
    route = cheapest(provider)
    if route is None:
        return ProbeResult("unclear", "no_route")
    headers = {provider.credential.header: provider.credential.value(api_key), **_HEADERS.get(provider.dialect, {})}
    url = (base_url or provider.base_url).rstrip("/") + route.path
    began = time.perf_counter()
    try:
        with local_http.session() as session:
            patience = (min(CONNECT_SECONDS, seconds), seconds)
            with session.get(
                url, headers=headers, timeout=patience, allow_redirects=False, stream=True, verify=verify, cert=cert
            ) as answer:
                status = answer.status_code
    except (requests.RequestException, OSError, ValueError) as error:
        return ProbeResult("unreachable", _reason(error), 0, _since(began))
    return ProbeResult(_state(status), "" if 200 <= status < 300 else f"status_{status}", status, _since(began))


def cheapest(provider: Provider) -> Route | None:
    """Return a route that only reads and needs no id: the list of models, else the first one; None if there is none."""
    plain = [route for route in provider.routes if "GET" in route.methods and "{" not in route.path]
    free = [route for route in plain if route.is_free("GET")]
    return next((route for route in free if route.name == "models"), free[0] if free else None)


def _state(status: int) -> State:
    if 200 <= status < 300:
        return "ok"
    if status in _REFUSED:
        return "refused"
    return "limited" if status == 429 else "unclear"


def _reason(error: Exception) -> str:
    known: tuple[tuple[type[Exception], str], ...] = (
        (requests.ConnectTimeout, "connect_timeout"),
        (requests.Timeout, "first_byte_timeout"),
        (requests.exceptions.SSLError, "tls"),
    )
    told = str(error)
    word = next((word for kind, word in known if isinstance(error, kind)), "")
    return word or next(
        (word for part, word in (("Errno 111", "refused"), ("resolve", "dns")) if part in told), "closed"
    )


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
