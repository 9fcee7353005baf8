"""The provider's HTTP/1.1 connection: quiet once an attempt has been given up, bounded heads, one request at a time."""

import re
from collections.abc import Callable

from h11._readers import ChunkedReader
from mitmproxy import http
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import RegisterHttpConnection
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client

from addons.head_buffer import HeadBuffer
from addons.trailers import WithoutTrailers

MAX_HEAD_BYTES = 128 << 10
# RFC 9110 section 15.2: answers that come before the answer. 101 is none of them: it ends HTTP.
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d[ \r]")


def as_http1(request: http.Request) -> http.Request:
    """Return an HTTP/2 request as HTTP/1.1 writes it (RFC 9113 sections 8.2.3 and 8.3.1)."""
    request = request.copy()
    request.http_version = "HTTP/1.1"
    if "host" not in request.headers and request.authority:
        request.headers.insert(0, "Host", request.authority)
    request.authority = ""
    if len(cookies := request.headers.get_all("cookie")) > 1:
        request.headers["cookie"] = "; ".join(cookies)
    return request


def is_understood(response: http.Response) -> bool:
    """Tell whether an answer's head is one of HTTP/1 (RFC 9112 section 2.3, RFC 9110 section 15)."""
    return response.http_version in ("HTTP/1.0", "HTTP/1.1") and 100 <= response.status_code <= 599


class ProviderConnection(Http1Client):
    """mitmproxy's HTTP/1 client side, with our manners."""

    _is_given_up = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.buf = HeadBuffer()

    @property
    def is_idle(self) -> bool:
        """Whether it is open, carries no request, and nothing has come that nobody asked for."""
        return self.stream_id is None and not self.buf and self.state == self.read_headers and self.conn.connected

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take an event. Nothing here ever pauses, so that nothing is noted for going on later."""
        return self._handle_event(event)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, HttpEvent) and not self._is_given_up:
            return self.send(event)
        return self._read(event)

    def _read(self, event: events.Event) -> layer.CommandGenerator[None]:
        if self._is_given_up:
            return
        for command in super()._handle_event(event):
            yield command
            if self._is_given_up:  # Meanwhile; what else came with this event is not wanted any more.
                return

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Send one event of a request. A request that is given up ends the connection, and nothing is heard of it."""
        if isinstance(event, RequestProtocolError):
            yield from self._give_up()
        elif isinstance(event, RequestHeaders) and event.request.is_http2:
            yield from super().send(RequestHeaders(event.stream_id, as_http1(event.request), event.end_stream))
        else:
            yield from super().send(event)

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read an answer's head, past interim answers; one that makes no sense or does not end is an error."""
        if isinstance(event, events.DataReceived) and self._is_interim():
            return
        for command in super().read_headers(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseHeaders):
                if not is_understood(command.event.response):
                    yield from self._fail("the answer's head makes no sense")
                    return
            yield command
        if self.state == self.read_headers and len(self.buf) > MAX_HEAD_BYTES:
            yield from self._fail("the answer's head is too large")

    def _fail(self, reason: str) -> layer.CommandGenerator[None]:
        if self.stream_id is not None:
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR))
            yield from self._give_up()

    def _give_up(self) -> layer.CommandGenerator[None]:
        self._is_given_up = True
        # Closing twice would cancel mitmproxy's task while it closes, and leave the socket open.
        if self.conn.state is not ConnectionState.CLOSED:
            yield commands.CloseConnection(self.conn)

    def _is_interim(self) -> bool:
        """Take interim answers off the buffer; tell whether it ends within one."""
        while self.request and _INTERIM.match(bytes(self.buf)[:16]):
            if not self.buf.maybe_extract_lines():
                return True
        return False

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read an answer's body; trailers are dropped."""
        if isinstance(self.body_reader, ChunkedReader):
            self.body_reader = WithoutTrailers(self.body_reader)  # type: ignore[assignment]
        yield from super().read_body(event)


class OpenProvider(commands.OpenConnection):
    """Open a connection for our HTTP layer. While `is_idle`, it may be taken away and serve somebody else."""

    def __init__(self, connection: Server, is_idle: Callable[[], bool]) -> None:
        super().__init__(connection)
        self.is_idle = is_idle


class ProviderClient(layer.Layer):
    """Opens the connection and registers it with the HTTP layer; always speaks HTTP/1.1."""

    connection: ProviderConnection | None = None

    def __init__(self, context: Context) -> None:
        super().__init__(context)

    @property
    def is_idle(self) -> bool:
        """Whether a request may be sent at once."""
        return self.connection is not None and self.connection.is_idle

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        error = yield OpenProvider(self.context.server, lambda: self.is_idle)
        if not error:
            self.connection = ProviderConnection(self.context)
            self.handle_event = self._handle_event = self.connection.handle_event  # type: ignore[method-assign]
            yield from self.connection.handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)
