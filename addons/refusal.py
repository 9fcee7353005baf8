"""Every refusal: its status, its code, its words, in the shape of the provider's own errors.

Rooms raise Refused with a Refusal; `fail_closed` turns it into the answer. Any other exception becomes a 503 and is
raised on, so that it is logged: mitmproxy alone would let the request through when a hook crashes.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mitmproxy import http

from addons import dialects
from addons.call import Call, Calls


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reasoned no. `retry_after` in whole seconds, where waiting helps; `allow` lists methods of a 405."""

    status: int
    code: str
    message: str
    retry_after: int | None = None
    allow: tuple[str, ...] = ()


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
ENDPOINT_NOT_FOUND = Refusal(404, "endpoint_not_found", "This endpoint is not offered here.")
REQUEST_TOO_LARGE = Refusal(413, "request_too_large", "The request body is larger than this endpoint takes.")
HEAD_TOO_LARGE = Refusal(431, "invalid_request", "The request's headers are too large.")
QUOTA_EXCEEDED = Refusal(429, "quota_exceeded", "All requests of this token have been used.")
UPSTREAM_ERROR = Refusal(502, "upstream_error", "The provider could not be reached or broke off its answer.")
SERVICE_UNAVAILABLE = Refusal(503, "service_unavailable", "The proxy cannot decide right now. Try again.", 1)


def method_not_allowed(allowed: frozenset[str]) -> Refusal:
    """A known path, asked with another method."""
    methods = tuple(sorted(allowed))
    return Refusal(405, "method_not_allowed", f"This endpoint takes {', '.join(methods)}.", allow=methods)


def invalid_request(reason: str) -> Refusal:
    """A request that cannot be understood; `reason` is a full sentence that quotes nothing of the request."""
    return Refusal(400, "invalid_request", reason)


def respond(refusal: Refusal, call: Call) -> http.Response:
    """Return the refusal as the provider of this call would word it, and remember it as the call's end."""
    call.refused_with = refusal.code
    body = dialects.error_body(call.dialect, refusal.status, refusal.code, refusal.message, call.request_id)
    headers = {"content-type": "application/json", "cache-control": "no-store", "x-request-id": call.request_id}
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
    """Guard a request-side hook: skipped once the flow is answered or broken, refusing whenever it raises."""

    @functools.wraps(hook)
    async def guarded(room: Room, flow: http.HTTPFlow) -> None:
        if flow.response is not None or flow.error is not None:
            return
        call = room.calls.of(flow)
        try:
            outcome = hook(room, flow)
            if inspect.isawaitable(outcome):
                await outcome
        except Refused as refused:
            _refuse(flow, call, refused.refusal)
        except BaseException:
            _refuse(flow, call, SERVICE_UNAVAILABLE)
            raise

    return guarded


def _refuse(flow: http.HTTPFlow, call: Call, refusal: Refusal) -> None:
    flow.response = respond(refusal, call)
    if flow.request.method == "HEAD":
        flow.response.raw_content = b""  # Only the body goes; its length stays announced, as for the GET.
    flow.request.headers.pop("expect", None)  # Else mitmproxy would invite the client to send its body first.
