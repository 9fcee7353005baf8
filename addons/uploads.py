"""Lets large bodies that nobody here has to read flow on to the provider while they come, instead of holding them."""

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from addons.call import Calls
from addons.refusal import fail_closed

# Smaller bodies are held: a request that is at hand can be repeated when an attempt fails.
HELD_BYTES = 256 << 10


class Uploads:
    """Runs after admission, since a streamed request goes to the provider at once."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Decide whether the body is streamed: only on routes whose bodies are not read here."""
        route = self.calls.of(flow).route
        if route is None or route.body_of(flow.request.method) not in ("multipart", "any"):
            return
        announced = expected_http_body_size(flow.request)
        if announced is None or announced > HELD_BYTES:
            flow.request.stream = True
