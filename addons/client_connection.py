"""The client's HTTP/1 connection: bounded heads, errors in JSON, and a polite end for uploads that were refused."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons.call import Call
from addons.refusal import HEAD_TOO_LARGE, Refusal, invalid_request, respond
from addons.request_head import MAX_HEAD_BYTES

# After a refusal the client may still be sending. Closing at once would reset the connection and could destroy the
# answer on its way, so what comes is read and dropped, for this long and this much.
LINGER_SECONDS = 2.0
LINGER_BYTES = 4 << 20


@dataclass
class StopReading(HttpEvent):
    """The answer is complete though the request is not: read no more of it than politeness asks."""


class ClientConnection(Http1Server):
    """mitmproxy's HTTP/1 server side, with our manners."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lingered = 0

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read a request's head; the one thing mitmproxy sends from here is its HTML error page: ours replaces it."""
        for command in super().read_headers(event):
            if isinstance(command, commands.SendData):
                yield from self._refuse(invalid_request("The request is not well-formed HTTP."))
                return
            yield command
        if self.state == self.read_headers and len(self.buf) > MAX_HEAD_BYTES:
            yield from self._refuse(HEAD_TOO_LARGE)

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Send one event of an answer."""
        if not isinstance(event, StopReading):
            yield from super().send(event)
        elif event.stream_id == self.stream_id and not self.request_done:
            yield from self._start_lingering()

    def linger(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Drop what still comes, until the client closes, time is up or it was too much."""
        if isinstance(event, events.DataReceived):
            self._lingered += len(event.data)
            self.buf.maybe_extract_at_most(len(self.buf))
        if not isinstance(event, events.DataReceived) or self._lingered > LINGER_BYTES:
            self.state = self.done
            yield commands.CloseConnection(self.conn)

    def _refuse(self, refusal: Refusal) -> layer.CommandGenerator[None]:
        response = respond(refusal, Call())
        response.headers["connection"] = "close"
        yield commands.SendData(self.conn, http1.assemble_response(_complete(response)))
        yield from self._start_lingering()

    def _start_lingering(self) -> layer.CommandGenerator[None]:
        self.state = self.linger
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(LINGER_SECONDS)


def _complete(response: http.Response) -> http.Response:
    response.timestamp_end = response.timestamp_start
    return response
