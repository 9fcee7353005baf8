"""Checks a request's body against its route: not too large, and JSON where JSON is due."""

import msgspec
from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from addons.call import Call, Calls
from addons.refusal import REQUEST_TOO_LARGE, Refused, fail_closed, invalid_request


class _Asked(msgspec.Struct):
    # Only what metering needs; whether the values make sense is for the provider to say.
    model: object = None
    stream: object = None


_decoder = msgspec.json.Decoder(_Asked)


def read_json(body: bytes) -> _Asked:
    """Return model and stream flag of a JSON object. Raises Refused for anything else."""
    try:
        body.decode()  # The decoder skips what it does not need without looking whether it is text.
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refused(invalid_request("The request body must be a JSON object.")) from None


class RequestBody:
    """Looks at the announced size before the body comes, and at the body before the provider is contacted."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies announced larger than any candidate route takes with 413; upstream.py cuts off the others."""
        announced = expected_http_body_size(flow.request) or 0
        limits = [route.max_body_bytes for route in self.calls.of(flow).candidates.values()]
        if announced > max(limits, default=0):
            raise Refused(REQUEST_TOO_LARGE)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Refuse what is not JSON on a JSON route with 400, and note the model asked for."""
        call = self.calls.of(flow)
        if call.route is not None and call.route.body_of(flow.request.method) == "json":
            self._note(call, flow.request)

    def _note(self, call: Call, request: http.Request) -> None:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(invalid_request("A compressed request body is not accepted here."))
        asked = read_json(request.raw_content or b"")
        call.model = asked.model[:256] if isinstance(asked.model, str) else None
        call.is_stream = asked.stream is True
