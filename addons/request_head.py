"""Refuses request heads that no honest client sends and that proxy and provider might read differently."""

from mitmproxy import http

from addons.call import Calls
from addons.refusal import HEAD_TOO_LARGE, Refused, fail_closed, invalid_request

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 100
_CONTROL = bytes([*range(0, 9), *range(10, 32), 127])
# At most one of each may be there: two of them would let proxy and provider each believe another one.
_SINGLE = ("authorization", "x-api-key", "host", "content-type", "content-length", "transfer-encoding")


def check(request: http.Request) -> None:
    """Raise Refused for a head that is too large, ambiguous, not text or not addressed to this proxy."""
    fields = request.headers.fields
    if len(fields) > MAX_HEADERS or sum(len(name) + len(value) for name, value in fields) > MAX_HEAD_BYTES:
        raise Refused(HEAD_TOO_LARGE)
    if request.http_version not in ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0"):
        raise Refused(invalid_request("The HTTP version is not supported."))
    if request.first_line_format != "relative":
        raise Refused(invalid_request("The request target must be a path."))
    if not all(_is_text(name) and _is_text(value) for name, value in fields):
        raise Refused(invalid_request("A header is not valid UTF-8 text."))
    if any(len(request.headers.get_all(name)) > 1 for name in _SINGLE):
        raise Refused(invalid_request("A header that may only be sent once was sent several times."))
    if "upgrade" in request.headers:
        raise Refused(invalid_request("This endpoint does not switch protocols."))


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return raw.translate(None, _CONTROL) == raw


class RequestHead:
    """Applies `check` before anything is looked up."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse malformed heads with 400 or 431."""
        check(flow.request)
