"""What goes out of a request: the head with the key on it, the answer in time, and an error of ours in its place.

mitmproxy builds its own errors and writes requests in its HTTP layer, below the hooks. The provider key is on the
request only while its head is written: hooks, views and saved flows never meet it.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook, HttpResponseHook

from addons import dialects, refusal
from addons.call import Call, Calls, UpstreamCredential
from addons.client_connection import StopReading
from addons.ending import Cause, Refusal
from addons.interrupts import Deadline, Interrupts, timed_out
from addons.refusal import respond

# Calls who listens to a hook, and tells whether all is done; see addons/engine/handler.py.
CallHook = Callable[[commands.StartHook], bool]

_CLIENT_FAULTS = {ErrorCode.GENERIC_CLIENT_ERROR, ErrorCode.REQUEST_VALIDATION_FAILED, ErrorCode.DESTINATION_UNKNOWN}


class Worn:
    """Puts the provider key on a request for the time of a block."""

    def __init__(self, credential: UpstreamCredential, request: http.Request) -> None:
        self._credential = credential
        self._request = request
        self._without = request.headers

    def __enter__(self) -> None:
        headers = self._request.headers = http.Headers(self._without.fields)
        headers[self._credential.header] = self._credential.value

    def __exit__(self, *raised: object) -> None:
        self._request.headers = self._without  # Whatever was remembered about the others goes with them.


class AnsweringStream(HttpStream):
    """Watches what mitmproxy's stream sends. `_silence` limits each wait for the provider, `_total` the whole.

    With `call_hook` the stream has hooks called itself where it may, and pauses only for one that has to wait. It
    `_is_late` while it handles what came during such a pause.
    """

    call_hook: CallHook | None = None

    def __init__(self, context: Context, stream_id: int, calls: Calls, interrupts: Interrupts) -> None:
        super().__init__(context, stream_id)
        self._calls = calls
        self._interrupts = interrupts
        self._silence = Deadline(self._expire)
        self._total = Deadline(self._expire)
        self._tail = b""
        self._known: Call | None = None
        self._is_late = False

    @property
    def call(self) -> Call:
        """What is known about this request."""
        if self._known is None:
            self._known = self._calls.of(self.flow)
        return self._known

    def _expire(self, cause: Cause) -> None:
        self._interrupts.interrupt(self.call, timed_out(cause))

    def _watch(self, steps: Generator[Any, Any, Any]) -> layer.CommandGenerator[Any]:
        reply: Any = None
        while True:
            try:
                command = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = None
            if isinstance(command, SendHttp):
                yield from self._send(command)
            elif isinstance(command, DropStream):
                yield command
                self._silence.disarm()
                self._total.disarm()
            elif not self._has_called(command):
                reply = yield command

    def _has_called(self, command: commands.Command) -> bool:
        # Were a request answered before its connection has noted that all of it is there, the connection would be taken
        # for one that has not been read to its end. And what this stream has become, as a WebSocket, waits by itself.
        if self.call_hook is None or not isinstance(command, commands.StartHook) or command.blocking is not True:
            return False
        is_of_answer = isinstance(command, HttpResponseHeadersHook | HttpResponseHook)
        is_noted = self._is_late or (is_of_answer and self.client_state == self.state_done)
        return is_noted and self.call_hook(command)

    def _send(self, command: SendHttp) -> Iterable[commands.Command]:
        event = command.event
        if isinstance(event, RequestHeaders) and self.call.credential is not None:
            return self._send_request_head(command, self.call.credential)
        if isinstance(event, ResponseProtocolError):
            return self._send_error(command, event)
        self._note_progress(event)
        return (command,)

    def _send_request_head(self, command: SendHttp, credential: UpstreamCredential) -> layer.CommandGenerator[None]:
        with Worn(credential, self.flow.request):
            yield command

    def _note_progress(self, event: events.Event) -> None:
        timeouts = self.call.route.timeouts if self.call.route else None
        if isinstance(event, ResponseData):
            self._tail = event.data[-4:] or self._tail
        elif isinstance(event, RequestEndOfMessage) and timeouts and not self.call.head_sent:
            self._silence.arm(Cause.FIRST_BYTE, timeouts.first_byte)
        elif isinstance(event, ResponseHeaders) and event.response.status_code != 100:
            self.call.head_sent = True
            is_http = event.response.status_code != 101
            self._silence.arm(Cause.IDLE, timeouts.idle if timeouts and is_http else None)

    def _send_error(self, command: SendHttp, error: ResponseProtocolError) -> layer.CommandGenerator[None]:
        is_ours = error.code.http_status_code() is not None
        if is_ours and not self.call.head_sent:
            self.flow.response = respond(self._refusal_for(error), self.call)
            yield HttpResponseHeadersHook(self.flow)
            yield from self._answer(self.flow.response)
        elif is_ours and self._speaks_events():
            yield from self._end_events(self._refusal_for(error))
        else:
            yield command

    def _refusal_for(self, error: ResponseProtocolError) -> Refusal:
        if self.call.ending is not None:
            return self.call.ending
        if error.code in _CLIENT_FAULTS:
            return refusal.MALFORMED
        return refusal.UPSTREAM_ERROR if self.call.credential else refusal.SERVICE_UNAVAILABLE

    def _end(self, ending: Refusal) -> layer.CommandGenerator[None]:
        """End the request with an error of ours, whatever has been sent of its answer."""
        self.call.ending = ending
        error = ResponseProtocolError(self.stream_id, ending.message, ErrorCode.GENERIC_SERVER_ERROR)
        yield from super().handle_protocol_error(error)
        self.client_state = self.server_state = self.state_errored

    def _give(self, response: http.Response) -> layer.CommandGenerator[None]:
        """Answer with what a room has put there, though the request may still be coming."""
        self.client_state = self.server_state = self.state_errored
        response.headers["connection"] = "close"
        yield HttpResponseHeadersHook(self.flow)
        yield HttpResponseHook(self.flow)
        yield from self._answer(response)
        self.flow.live = False
        yield DropStream(self.stream_id)

    def _answer(self, response: http.Response) -> layer.CommandGenerator[None]:
        client = self.context.client
        self.call.head_sent = True
        yield SendHttp(ResponseHeaders(self.stream_id, response, False), client)
        if self.flow.request.method != "HEAD":
            yield SendHttp(ResponseData(self.stream_id, response.raw_content or b""), client)
        yield from self._finish_answer()

    def _speaks_events(self) -> bool:
        """Whether an event of ours can follow on what has been sent: no length was announced, nothing is compressed."""
        headers = self.flow.response.headers if self.flow.response else http.Headers()
        is_stream = headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"
        return is_stream and "content-length" not in headers and "content-encoding" not in headers

    def _end_events(self, ending: Refusal) -> layer.CommandGenerator[None]:
        gap = b"" if not self._tail or self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) else b"\n\n"
        call = self.call
        event = dialects.error_event(call.dialect, ending.status, ending.code, ending.message, call.request_id)
        yield SendHttp(ResponseData(self.stream_id, gap + event), self.context.client)
        yield from self._finish_answer()

    def _finish_answer(self) -> layer.CommandGenerator[None]:
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        yield SendHttp(StopReading(self.stream_id), self.context.client)
