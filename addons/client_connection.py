"""The client's HTTP/1 connection: what ends it and what it is framed by is settled between the client and us alone.

Bounded heads, errors in JSON, our own version and `Connection` on every answer, and a polite end for uploads that were
refused. A client that closes its sending side is taken for gone, as mitmproxy does: RFC 9112 section 9.6 would let it
wait for its answer, but then a client that vanished could not be told from it, and would be paid for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from h11._readers import ChunkedReader
from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseHeaders,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons.answer_head import facing
from addons.call import Call
from addons.head_buffer import HeadBuffer
from addons.refusal import HEAD_TOO_LARGE, MALFORMED, Refusal, respond
from addons.request_head import MAX_HEAD_BYTES
from addons.trailers import WithoutTrailers

# After a refusal the client may still be sending. Closing at once would reset the connection and could destroy the
# answer on its way, so what comes is read and dropped, for this long and this much.
LINGER_SECONDS = 2.0
LINGER_BYTES = 4 << 20
# RFC 9112 section 2.2 has servers ignore an empty line or more before a request.
MAX_EMPTY_LINES = 8
# What a client may send ahead while its last request is being answered.
MAX_PIPELINED_BYTES = 1 << 20


@dataclass
class StopReading(HttpEvent):
    """The answer is complete though the request is not: read no more of it than politeness asks."""


class ClientConnection(Http1Server):
    """mitmproxy's HTTP/1 server side, with our manners."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.buf = HeadBuffer()
        self._lingered = 0
        self._is_http10 = False
        self._is_last = False
        self._is_retiring = False
        self._refused_with: commands.SendData | None = None

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take an event. Nothing here ever pauses, so that nothing is noted for going on later."""
        return self._handle_event(event)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, HttpEvent):
            return self.send(event)
        if isinstance(event, events.DataReceived) and self.state != self.passthrough:
            self.buf += event.data
        return self.state(event)

    # What comes in

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read a request's head; the one thing mitmproxy sends from here is its HTML error page: ours replaces it."""
        for _ in range(MAX_EMPTY_LINES + 1):
            length = len(self.buf)
            yield from self._read_head(event)
            if self.state != self.read_headers or len(self.buf) in (0, length):
                break  # Else an empty line was taken off, and what follows has not been looked at.
        if self.state == self.read_headers and self._is_hopeless():
            yield from self._refuse(HEAD_TOO_LARGE if len(self.buf) > MAX_HEAD_BYTES else MALFORMED)

    def _read_head(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        for command in super().read_headers(event):
            if isinstance(command, commands.SendData) and command is not self._refused_with:
                yield from self._refuse(MALFORMED)
                return
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestHeaders):
                if not self._is_understood(command.event.request):
                    yield from self._refuse(MALFORMED)
                    return
                self._note(command.event.request)
            if not isinstance(command, commands.Log):  # They quote what came, which may hold a token.
                yield command

    def _is_hopeless(self) -> bool:
        """Whether no more bytes can make a request of this: too many, or TLS, which starts with a control character."""
        is_other = len(self.buf) > 1 and self.buf.is_next_line_obviously_invalid_request_line()
        return is_other or len(self.buf) > MAX_HEAD_BYTES

    @staticmethod
    def _is_understood(request: http.Request) -> bool:
        # RFC 9112 section 3.2: exactly one Host, which mitmproxy is about to overwrite.
        hosts = len(request.headers.get_all("host"))
        return hosts == 1 if request.http_version == "HTTP/1.1" else hosts <= 1 and request.http_version == "HTTP/1.0"

    def _note(self, request: http.Request) -> None:
        # The rooms are about to change this request to what the provider gets.
        self._is_http10 = request.http_version == "HTTP/1.0"
        wishes = [wish.strip().lower() for wish in request.headers.get("connection", "").split(",")]
        self._is_last = self._is_http10 or self._is_retiring or "close" in wishes

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a request's body; one that is malformed is answered, if its client can still hear that."""
        if isinstance(self.body_reader, ChunkedReader):
            self.body_reader = WithoutTrailers(self.body_reader)  # type: ignore[assignment]
        end: commands.CloseConnection | None = None
        is_chunked = isinstance(self.body_reader, WithoutTrailers)
        steps = super().read_body(event)
        for command in self._joined(steps) if is_chunked else steps:
            if isinstance(command, commands.CloseConnection):
                end = command
            elif isinstance(command, ReceiveHttp) and isinstance(command.event, RequestProtocolError):
                yield from self._give_up(command)
                return
            else:
                yield command
        if end is not None:
            yield end
        elif self.state == self.read_body and len(self.buf) > MAX_HEAD_BYTES:  # An endless trailer or chunk extension.
            error = RequestProtocolError(self.stream_id, "the body is not well-formed", ErrorCode.GENERIC_CLIENT_ERROR)
            yield from self._give_up(ReceiveHttp(error))

    def _joined(self, steps: Iterator[commands.Command]) -> layer.CommandGenerator[None]:
        """Join the data of one read: a body of tiny chunks would otherwise be an object for each of its bytes."""
        pieces: list[bytes] = []
        for command in steps:
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestData):
                pieces.append(command.event.data)
                continue
            if pieces:
                yield ReceiveHttp(RequestData(self.stream_id, b"".join(pieces)))
                pieces.clear()
            yield command
        if pieces:
            yield ReceiveHttp(RequestData(self.stream_id, b"".join(pieces)))

    def _give_up(self, error: ReceiveHttp) -> layer.CommandGenerator[None]:
        yield error
        is_unanswered = self.response is None or self.response.status_code < 200
        if is_unanswered and self.conn.connected:
            yield from self._refuse(MALFORMED)
        else:
            self.state = self.done
            yield commands.CloseConnection(self.conn)

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Wait for the answer while the client may send its next request ahead, or go away."""
        yield from super().wait(event)
        if isinstance(event, events.ConnectionClosed):
            self.state = self.done
        elif len(self.buf) > MAX_PIPELINED_BYTES:
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            gone = RequestProtocolError(self.stream_id, "too much was sent ahead", ErrorCode.CLIENT_DISCONNECTED)
            yield ReceiveHttp(gone)

    # What goes out

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Send one event of an answer."""
        if isinstance(event, StopReading):
            if event.stream_id == self.stream_id and not self.request_done:
                yield from self._start_lingering()
        elif isinstance(event, ResponseHeaders):
            yield from self._send_head(event)
        elif isinstance(event, ResponseData) and not event.data:
            pass  # An empty chunk would end the body.
        elif not isinstance(event, ResponseTrailers):
            yield from super().send(event)

    def _send_head(self, event: ResponseHeaders) -> layer.CommandGenerator[None]:
        if self._is_http10 and event.response.status_code == 100:
            return  # RFC 9110 section 10.1.1
        # An answer that comes before the request has been read is the last one, too.
        response = facing(event.response, self._is_http10, self._is_last or not self.request_done)
        yield from super().send(ResponseHeaders(event.stream_id, response, event.end_stream))

    # Ends

    def retire(self, is_idle: bool) -> layer.CommandGenerator[None]:
        """Let the next answer, or the one under way, be the last; close if there is none."""
        self._is_retiring = self._is_last = True
        if is_idle and self.state == self.read_headers and not self.buf:
            self.state = self.done
            yield commands.CloseConnection(self.conn)

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
        self._refused_with = commands.SendData(self.conn, http1.assemble_response(_complete(response)))
        yield self._refused_with
        yield from self._start_lingering()

    def _start_lingering(self) -> layer.CommandGenerator[None]:
        self.state = self.linger
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(LINGER_SECONDS)


def _complete(response: http.Response) -> http.Response:
    response.timestamp_end = response.timestamp_start
    return response
