"""Taking leave of clients: what a connection hears when its worker is going to end."""

from dataclasses import dataclass

from mitmproxy.proxy import events

from addons.refusal import Refusal

# What a request is told that could not finish in time.
RETIRED = Refusal(503, "service_unavailable", "This proxy is being restarted. Try again.", 1)


@dataclass
class Retiring(events.Event):
    """Answer what has been asked, each answer being the last one of its connection.

    With `closes_idle` a connection that carries no request is closed. It may be told so again and again.
    """

    closes_idle: bool
