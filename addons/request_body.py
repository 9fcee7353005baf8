"""Checks a request's body against its route: not too large, of the right kind, and JSON with all it needs.

Kind and content are only checked where the route and the feature `validation` say so; bodies of opaque providers are
passed on unread. What projects and tokens allow is another matter: see request_policy.py.
"""

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from addons import media_types
from addons.body_fields import json_object, value
from addons.call import Call, Calls
from addons.refusal import REQUEST_TOO_LARGE, Refused, fail_closed, invalid_request
from addons.targets import has_feature
from shared.models import Feature
from shared.providers import Route

COMPRESSED = invalid_request("A compressed request body is not accepted here.")


def is_validated(call: Call, route: Route) -> bool:
    """Tell whether bodies are checked for what the provider would refuse anyway."""
    return route.validates and call.dialect != "opaque" and has_feature(call, Feature.VALIDATION)


def is_compressed(request: http.Request) -> bool:
    """Tell whether a body hides in a content coding."""
    return request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


class RequestBody:
    """Looks at the announced size before the body comes, and at the body before the provider is contacted."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies announced larger than any candidate route takes with 413; stream.py cuts off the others."""
        announced = expected_http_body_size(flow.request) or 0
        limits = [route.max_body_bytes for route in self.calls.of(flow).candidates.values()]
        if announced > max(limits, default=0):
            raise Refused(REQUEST_TOO_LARGE)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Refuse what is not JSON on a JSON route with 400, and note the model asked for."""
        self.check(flow)

    def check(self, flow: http.HTTPFlow) -> None:
        """Do so, raising Refused: also for a body that has been changed since."""
        call = self.calls.of(flow)
        if call.route is None or call.dialect == "opaque" or call.route.body_of(flow.request.method) != "json":
            return
        try:
            self._read(call, call.route, flow.request)
        except Refused:
            if is_validated(call, call.route):
                raise

    def _read(self, call: Call, route: Route, request: http.Request) -> None:
        if is_compressed(request):
            raise Refused(COMPRESSED)
        fields = json_object(request.raw_content or b"")
        model = value(fields.get("model"))
        call.model = model[:256] if isinstance(model, str) else None
        call.is_stream = value(fields.get("stream")) is True
        for name in route.required:
            if name not in fields:
                raise Refused(invalid_request(f"The parameter {name} is required.", name))


class RequestKind:
    """Looks at the announced kind before the body comes; stands after admission, which settles the route."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies of another kind than the route takes with 415, and with 400 where it takes none."""
        call = self.calls.of(flow)
        if call.route is None or not is_validated(call, call.route):
            return
        kind = call.route.body_of(flow.request.method)
        if kind == "none" and expected_http_body_size(flow.request) != 0:
            raise Refused(invalid_request("This endpoint takes no body."))
        media_types.check(flow.request.headers.get("content-type"), kind)
