"""Names each request, and refuses heads that no honest client sends or that could be read in two ways."""

import re

from mitmproxy import http

from addons.call import Calls
from addons.refusal import HEAD_TOO_LARGE, UNKNOWN_EXPECTATION, Refused, fail_closed, invalid_request

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 100
_VERSIONS = ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0")
# Methods are case-sensitive (RFC 9110 section 9.1), but mitmproxy shows them in upper case: `get` would pass for GET.
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")
# RFC 9112 section 3.2: a target is printable ASCII, and a fragment is never sent.
_UNFIT_FOR_A_LINE = re.compile(rb"[^\x21-\x7e]|#")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CONTROL = bytes([*range(0, 9), *range(10, 32), 127])
# At most one of each may be there: two of them would let proxy and provider each believe another one.
_SINGLE = frozenset(b"authorization x-api-key host content-type content-length transfer-encoding".split())


def check(request: http.Request) -> None:
    """Raise Refused for a head that is too large, ambiguous, not text or not addressed to this proxy."""
    fields = request.headers.fields
    text = b" ".join([part for field in fields for part in field])
    if len(fields) > MAX_HEADERS or len(text) > MAX_HEAD_BYTES:
        raise Refused(HEAD_TOO_LARGE)
    if request.http_version not in _VERSIONS:
        raise Refused(invalid_request("The HTTP version is not supported."))
    if not _METHOD.fullmatch(request.data.method):
        raise Refused(invalid_request("The method is not one of HTTP's."))
    is_absolute = request.first_line_format != "relative" and not request.is_http2  # HTTP/2 names the host apart.
    if is_absolute or _UNFIT_FOR_A_LINE.search(request.data.path):
        raise Refused(invalid_request("The request target must be a path."))
    if not _is_text(text):
        raise Refused(invalid_request("A header is not plain UTF-8 text: it holds other bytes or control characters."))
    single = [name for field in fields if (name := field[0].lower()) in _SINGLE]
    if len(set(single)) < len(single):
        raise Refused(invalid_request("A header that may only be sent once was sent several times."))
    if request.headers.get("expect", "100-continue").strip().lower() != "100-continue":
        raise Refused(UNKNOWN_EXPECTATION)
    if request.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise Refused(invalid_request("No transfer coding other than chunked is taken."))


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return raw.translate(None, _CONTROL) == raw


def correlation_id(presented: str, own: str) -> str:
    """Return the client's id of a request if it is fit for headers and logs, else ours."""
    return presented if _CORRELATION_ID.fullmatch(presented) else own


class RequestHead:
    """Names the request and applies `check` before anything is looked up."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse malformed heads with 400 or 431."""
        if flow.is_replay:  # What admitted it the first time is spent, and mitmproxy's replay goes past our layers.
            raise Refused(invalid_request("A replayed request is not taken. Send it anew, with a token."))
        call = self.calls.of(flow)
        call.correlation_id = correlation_id(flow.request.headers.get("x-request-id", ""), call.request_id)
        check(flow.request)
