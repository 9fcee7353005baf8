"""Calls from web pages of other origins (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol); off by default.

A preflight carries no token, so it cannot be judged by a project. It need not be: it grants nothing but that the
browser sends the real request, which must bring a token and is then held against that token's own project. Still it is
answered only for origins that some project has allowed: where nobody has set up CORS, every preflight fails, and no
browser sends anything. What it reveals is that an origin is allowed by somebody, never by whom.

The real request passes if its project allows its origin, and only then may the page read the answer. A project without
origins takes requests that carry an `Origin` as ever, but no page can read what comes back. Credentials mode is never
allowed: callers are known by tokens, not by cookies.
"""

import re
from collections.abc import Awaitable, Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from mitmproxy import http

from addons.call import Calls
from addons.refusal import ORIGIN_NOT_ALLOWED, SERVICE_UNAVAILABLE, Refused, fail_closed, invalid_request
from addons.route_table import RouteTable
from addons.store import StoreUnavailable

# How long a browser may remember a preflight: so long does an origin that was taken off still cost a request.
MAX_AGE_SECONDS = 600
_EXPOSED = ("x-request-id", "request-id", "retry-after", "x-should-retry")
_EXPOSED_OWN = ("x-llm-proxy-request-id", "x-llm-proxy-attempts", "server-timing")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_LONGEST = 4096


class Origins(Protocol):
    """Knows what all projects together allow."""

    async def allows_origin(self, origin: str) -> bool:
        """Tell whether any active project names this origin. Raises StoreUnavailable."""


def is_preflight(request: http.Request) -> bool:
    """Tell whether a browser asks before it sends the real request."""
    headers = request.headers
    return request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def is_origin(text: str) -> bool:
    """Tell whether a text is an origin as browsers write it (RFC 6454 section 6.2); `null` is nobody's."""
    return len(text) <= _LONGEST and _ORIGIN.fullmatch(text) is not None


def preflight_answer(request: http.Request, methods: Iterable[str]) -> http.Response:
    """Return the answer to a preflight whose origin is allowed. Raises Refused if it asks for what is no header."""
    response = http.Response.make(204)
    response.headers.pop("content-length", None)
    response.headers["access-control-allow-origin"] = request.headers["origin"]
    response.headers["access-control-allow-methods"] = ", ".join(sorted(methods))
    if asked := request.headers.get("access-control-request-headers", ""):
        # `*` would leave out Authorization, so what was asked for is repeated.
        if len(asked) > _LONGEST or not _NAMES.fullmatch(asked):
            raise Refused(invalid_request("Access-Control-Request-Headers is not a list of header names."))
        response.headers["access-control-allow-headers"] = asked
    response.headers["access-control-max-age"] = str(MAX_AGE_SECONDS)
    response.headers["vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return response


def open_to(origin: str | None, headers: http.Headers) -> None:
    """Let pages of this origin read an answer, and no others: the provider has no say in it."""
    kept = [field for field in headers.fields if not field[0].lower().startswith(b"access-control-")]
    if len(kept) < len(headers.fields):
        headers.fields = tuple(kept)
    if origin is not None:
        headers["access-control-allow-origin"] = origin
        limits = sorted({name.lower() for name in headers if "ratelimit" in name.lower()})
        headers["access-control-expose-headers"] = ", ".join([*_EXPOSED, *_EXPOSED_OWN, *limits])


def varying(vary: str) -> str:
    """Return `Vary` with `Origin` in it."""
    named = [name.strip().lower() for name in vary.split(",")]
    return vary if "*" in named or "origin" in named else f"{vary}, Origin".lstrip(", ")


class Preflight:
    """Answers preflights for known paths; stands before the allowlist, which knows no OPTIONS."""

    def __init__(self, calls: Calls, table: RouteTable, origins: Origins) -> None:
        self.calls = calls
        self._table = table
        self._origins = origins

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Answer with 204, or refuse with 403."""
        return self._answer(flow) if is_preflight(flow.request) else None

    async def _answer(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        methods = self._table.current.match("OPTIONS", request.path.partition("?")[0]).allowed
        if not methods:
            return
        if not await self._is_allowed(request.headers["origin"]):
            raise Refused(ORIGIN_NOT_ALLOWED)
        flow.response = preflight_answer(request, methods)

    async def _is_allowed(self, origin: str) -> bool:
        try:
            return is_origin(origin) and await self._origins.allows_origin(origin)
        except StoreUnavailable:
            raise Refused(SERVICE_UNAVAILABLE) from None


class Cors:
    """Holds admitted requests against their project's origins; stands after admission."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._allowed: WeakKeyDictionary[http.HTTPFlow, str] = WeakKeyDictionary()

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse with 403 what comes from a page that the project does not allow."""
        caller, origin = self.calls.of(flow).caller, flow.request.headers.get("origin")
        if caller is None or origin is None or not caller.project.cors_origins:
            return
        if origin not in caller.project.cors_origins:
            raise Refused(ORIGIN_NOT_ALLOWED)
        self._allowed[flow] = origin

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let an allowed page read the answer, also if it is a refusal. An answered preflight is left as it is."""
        caller = self.calls.of(flow).caller
        if flow.response is None or caller is None:
            return
        open_to(self._allowed.get(flow), flow.response.headers)
        if caller.project.cors_origins:
            flow.response.headers["vary"] = varying(flow.response.headers.get("vary", ""))
