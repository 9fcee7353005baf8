"""Every refusal: its status, its code, its words, in the shape of the provider's own errors.

Rooms raise Refused with a Refusal; `fail_closed` turns it into the answer. Any other exception becomes a 503 and is
raised on, so that it is logged: mitmproxy alone would let the request through when a hook crashes.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mitmproxy import http

from addons import dialects
from addons.call import Call, Calls
from addons.ending import Refusal as Refusal
from addons.limit_headers import headers_of


class Refused(Exception):
    """Raised by a room that refuses. A new one each time: an exception that is raised again keeps its old frames."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.status} {refusal.code}")
        self.refusal = refusal


MISSING_TOKEN = Refusal(401, "missing_token", "No token was given. Send a withering token as API key.")
INVALID_TOKEN = Refusal(401, "invalid_token", "This is not a valid withering token: check for typos.")
TOKEN_NOT_FOUND = Refusal(401, "token_not_found", "This token is not known.")
TOKEN_EXPIRED = Refusal(401, "token_expired", "This token has expired.")
TOKEN_INACTIVE = Refusal(401, "token_inactive", "This token has been revoked.")
PROJECT_INACTIVE = Refusal(403, "project_inactive", "The project of this token is not active.")
ORIGIN_NOT_ALLOWED = Refusal(403, "origin_not_allowed", "Pages of this origin may not call with this token.")
MODEL_NOT_ALLOWED = Refusal(403, "model_not_allowed", "This token may not use this model.", param="model")
HOST_NOT_ALLOWED = Refusal(403, "host_not_allowed", "Only the hosts of providers are reached through this proxy.")
OTHER_PROVIDER = Refusal(403, "host_not_allowed", "This token is for a provider at another host.")
REQUEST_CUT = Refusal(403, "request_cut", "An operator has ended this request.")
REQUEST_DENIED = Refusal(403, "request_denied", "A rule of the operators denies this request.")
REQUEST_REFUSED = Refusal(403, "request_refused", "An operator has refused this request.")
HOLD_EXPIRED = Refusal(403, "hold_expired", "This request was held, and nobody has released it in time.")
TOO_MANY_HELD = Refusal(503, "too_many_held", "Too many requests are being held for a decision. Try again later.", 10)
ENDPOINT_NOT_FOUND = Refusal(404, "endpoint_not_found", "This endpoint is not offered here.")
MALFORMED = Refusal(400, "invalid_request", "The request is not well-formed HTTP.")
REQUEST_TOO_LARGE = Refusal(413, "request_too_large", "The request body is larger than this endpoint takes.")
HEAD_TOO_LARGE = Refusal(431, "invalid_request", "The request's headers are too large.")
UNKNOWN_EXPECTATION = Refusal(417, "invalid_request", "Only Expect: 100-continue is understood.")
MODEL_NOT_PRICED = Refusal(
    403, "model_not_priced", "Spending is limited here and this model has no price.", param="model"
)
QUOTA_EXCEEDED = Refusal(429, "quota_exceeded", "All requests of this token have been used.")
RATE_LIMIT_EXCEEDED = Refusal(429, "rate_limit_exceeded", "Too many requests.")
UPSTREAM_ERROR = Refusal(502, "upstream_error", "The provider could not be reached or broke off its answer.")
UPSTREAM_TIMEOUT = Refusal(504, "upstream_timeout", "The provider did not answer in time.")
TOO_MANY_CONNECTIONS = Refusal(503, "upstream_crowded", "Too many requests are at this provider. Try again.", 1)
SERVICE_UNAVAILABLE = Refusal(503, "service_unavailable", "The proxy cannot decide right now. Try again.", 1)


def method_not_allowed(allowed: frozenset[str]) -> Refusal:
    """A known path, asked with another method."""
    methods = tuple(sorted(allowed))
    return Refusal(405, "method_not_allowed", f"This endpoint takes {', '.join(methods)}.", allow=methods)


def invalid_request(reason: str, param: str | None = None) -> Refusal:
    """A request that cannot be understood; `reason` is a full sentence that quotes nothing of the request."""
    return Refusal(400, "invalid_request", reason, param=param)


def unsupported_media_type(expected: str) -> Refusal:
    """A body of a kind that the route does not take."""
    return Refusal(415, "unsupported_media_type", f"This endpoint takes {expected}.")


def parameter_not_allowed(name: str) -> Refusal:
    """A parameter that project or token deny altogether."""
    return Refusal(400, "parameter_not_allowed", f"The parameter {name} may not be sent with this token.", param=name)


def parameter_too_large(name: str, cap: float) -> Refusal:
    """A parameter above what project or token allow, or not comparable with it, or below 0, which may mean no limit."""
    largest = int(cap) if cap == int(cap) else cap
    message = f"The parameter {name} must be a number from 0 to {largest} with this token."
    return Refusal(400, "parameter_too_large", message, param=name)


def upstream_keys_exhausted(retry_after: int) -> Refusal:
    """None of the project's provider keys can be used; `retry_after` in seconds until the first one may be again."""
    message = "None of the provider keys of this project can be used right now."
    return Refusal(503, "upstream_keys_exhausted", message, retry_after)


def circuit_open(retry_after: int) -> Refusal:
    """The provider has failed so often that it is left alone; `retry_after` in seconds until it is tried again."""
    return Refusal(503, "circuit_open", "The provider is failing and is left alone for a moment.", retry_after)


TLS_ONLY = invalid_request("Only HTTPS is taken here.")


def respond(refusal: Refusal, call: Call) -> http.Response:
    """Return the refusal as the provider of this call would word it, and remember it as the call's end."""
    call.refused_with = refusal.code
    said = (refusal.status, refusal.code, refusal.message)
    body = dialects.error_body(call.dialect, *said, call.request_id, refusal.param)
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    headers |= {"x-request-id": call.correlation_id or call.request_id, "x-llm-proxy-request-id": call.request_id}
    headers |= headers_of(call.standing)
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.allow:
        headers["allow"] = ", ".join(refusal.allow)
    if refusal.code == "quota_exceeded":
        headers["x-should-retry"] = "false"  # The OpenAI SDKs would otherwise retry every 429.
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return http.Response.make(refusal.status, body, headers)


class Room(Protocol):
    """What `fail_closed` needs of an addon."""

    calls: Calls


Hook = Callable[[Any, http.HTTPFlow], Awaitable[None] | None]


def fail_closed(hook: Hook) -> Callable[[Any, http.HTTPFlow], Awaitable[None]]:
    """Guard a request-side hook: skipped once the flow is answered or broken, refusing whenever it raises.

    What it guards may wait, never, or only at times. It has this `at_once`, too: called as a function, it returns what
    is still to be awaited, or None; so what does not wait costs no coroutine.
    """

    def at_once(room: Room, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.error is not None:
            return None
        try:
            rest = hook(room, flow)
        except BaseException as raised:
            if not _refused(flow, room.calls.of(flow), raised):
                raise
            return None
        return None if rest is None else _guarded(room, flow, rest)

    @functools.wraps(hook)
    async def guarded(room: Room, flow: http.HTTPFlow) -> None:
        rest = at_once(room, flow)
        if rest is not None:
            await rest

    guarded.at_once = at_once  # type: ignore[attr-defined]
    return guarded


async def _guarded(room: Room, flow: http.HTTPFlow, rest: Awaitable[None]) -> None:
    try:
        await rest
    except BaseException as raised:
        if not _refused(flow, room.calls.of(flow), raised):
            raise


def _refused(flow: http.HTTPFlow, call: Call, raised: BaseException) -> bool:
    """Answer with a refusal; tells whether that was all there is to it, and nothing crashed."""
    _refuse(flow, call, raised.refusal if isinstance(raised, Refused) else SERVICE_UNAVAILABLE)
    return isinstance(raised, Refused)


def _refuse(flow: http.HTTPFlow, call: Call, refusal: Refusal) -> None:
    flow.response = respond(refusal, call)
    if flow.request.method == "HEAD":
        flow.response.raw_content = b""  # Only the body goes; its length stays announced, as for the GET.
    flow.request.headers.pop("expect", None)  # Else mitmproxy would invite the client to send its body first.
