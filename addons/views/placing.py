"""Which route the body of a flow belongs to: what the data plane found, else what the path says."""

from mitmproxy import http
from mitmproxy.contentviews import Metadata

from addons.views import about


def route_of(metadata: Metadata) -> str:
    """Return the name of the flow's route; "" if nobody has told."""
    route = about.about(metadata.flow).get("route")
    return route if isinstance(route, str) else ""


def path_of(metadata: Metadata) -> str:
    """Return the path of the flow's request, without its query; "" if there is none."""
    flow = metadata.flow
    return flow.request.path.partition("?")[0] if isinstance(flow, http.HTTPFlow) else ""
