"""Notes the model that a request asks for also in its path, its query or its form."""

from mitmproxy import http

from addons.asked import model_of_body, model_of_head
from addons.call import Calls
from addons.refusal import fail_closed
from addons.request_policy import has_model_in_path


class ModelAsked:
    """Stands behind whoever reads bodies, since what a path names holds, and before what is reserved at its price."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note what path or query name."""
        call, request = self.calls.of(flow), flow.request
        if call.route is not None:
            call.model = model_of_head(call.route, request.method, request.path)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Note what a body names, if it has been held and its route takes others than JSON."""
        call, request = self.calls.of(flow), flow.request
        if call.route is None or not request.raw_content:
            return
        if has_model_in_path(call.route):
            call.model = model_of_head(call.route, request.method, request.path)
        elif call.dialect != "opaque" and call.route.body_of(request.method) in ("multipart", "any"):
            call.model = model_of_body(request) or call.model
