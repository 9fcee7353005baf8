"""The door of the forward proxy: takes CONNECT to the hosts of providers, and nothing else.

Nothing is connected to here, and no flow is made of it. What comes through the tunnel is met by the same layers and
rooms as what comes to the proxy's own address.
"""

from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders

from addons.client_connection import ClientConnection
from addons.origins import plain_host
from addons.refusal import HOST_NOT_ALLOWED, Refused, invalid_request

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CONNECT_ONLY = invalid_request("Only HTTPS passes through this proxy: it takes CONNECT, and TLS within.")

IsOffered = Callable[[str, int], bool]


def asked_for(request: http.Request, is_offered: IsOffered) -> tuple[str, int]:
    """Return host and port that a tunnel is to lead to. Raises Refused for what is no CONNECT, or to foreign hosts."""
    if request.data.method != b"CONNECT":  # mitmproxy would show `connect` in upper case, too.
        raise Refused(CONNECT_ONLY)
    host, port = plain_host(request.data.host), request.data.port
    if not is_offered(host, port):
        raise Refused(HOST_NOT_ALLOWED)
    return host, port


class ConnectDoor(ClientConnection):
    """Reads one head, as strictly as any other of a client, and gives way to what is to come through the tunnel."""

    def __init__(self, context: Context, is_offered: IsOffered) -> None:
        super().__init__(context)
        self._is_offered = is_offered
        self._tunnel: layer.NextLayer | None = None

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if self._tunnel is not None:
            yield from self._tunnel.handle_event(event)
        elif isinstance(event, events.Start | events.ConnectionEvent | events.Wakeup):
            yield from super()._handle_event(event)
        # Whatever else comes is for running requests.

    def _read_head(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        for command in super()._read_head(event):
            if isinstance(command, ReceiveHttp):
                if isinstance(command.event, RequestHeaders):
                    yield from self._answer(command.event.request)
                return  # Nobody is there to be told of requests.
            yield command

    def _answer(self, request: http.Request) -> layer.CommandGenerator[None]:
        try:
            self.context.server.address = asked_for(request, self._is_offered)
        except Refused as refused:
            yield from self._refuse(refused.refusal)
        else:
            yield commands.SendData(self.conn, ESTABLISHED)
            yield from self._open()

    def _open(self) -> layer.CommandGenerator[None]:
        self.state = self.done
        sent_ahead = bytes(self.buf.maybe_extract_at_most(len(self.buf)) or b"")
        self._tunnel = layer.NextLayer(self.context)
        yield from self._tunnel.handle_event(events.Start())
        if sent_ahead:
            yield from self._tunnel.handle_event(events.DataReceived(self.conn, sent_ahead))
