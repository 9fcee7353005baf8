"""One request and its answer, in mitmproxy's HTTP layer: attempts at the provider, early refusals, and clean ends.

mitmproxy builds its own errors and writes requests here, below the hooks. The provider key is on the request only while
its head is written: hooks, views and saved flows never meet it.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, GetHttpConnection, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook, HttpResponseHook

from addons import dialects, failure, refusal
from addons.call import Call, Calls, Line, UpstreamCredential
from addons.client_connection import StopReading
from addons.ending import Cause, Interruption, Refusal
from addons.interrupts import Deadline, Interrupted, Interrupts, timed_out
from addons.recovery import Action, Decision, Recovery, failure_in
from addons.refusal import invalid_request, respond

# A failed answer shorter than this is read to its end, if that is soon, so that its connection can be used again.
MAX_DISCARDED_BYTES = 64 << 10
DISCARD_SECONDS = 1.0
# What a client may send on while its request cannot be looked at.
MAX_PILED_BYTES = 1 << 20
# 1008: policy violation.
_CLOSE_FRAME = b"\x88\x02" + (1008).to_bytes(2, "big")
_CLIENT_FAULTS = {ErrorCode.GENERIC_CLIENT_ERROR, ErrorCode.REQUEST_VALIDATION_FAILED, ErrorCode.DESTINATION_UNKNOWN}


@dataclass
class UpstreamRetryHook(commands.StartHook):
    """An attempt has failed and another one follows: rooms may wait, and pick another key or provider."""

    flow: http.HTTPFlow


@contextmanager
def worn(credential: UpstreamCredential, request: http.Request) -> Iterator[None]:
    """Put the provider key on a request, and off again."""
    request.headers[credential.header] = credential.value
    try:
        yield
    finally:
        del request.headers[credential.header]


class ProxyStream(HttpStream):
    """mitmproxy's stream, with our manners."""

    def __init__(
        self, context: Context, stream_id: int, calls: Calls, recovery: Recovery, interrupts: Interrupts
    ) -> None:
        super().__init__(context, stream_id)
        self._calls = calls
        self._recovery = recovery
        self._interrupts = interrupts
        self._silence = Deadline(self._expire)
        self._total = Deadline(self._expire)
        self._connection: Server | None = None
        self._tail = b""
        self._piled = 0

    @property
    def call(self) -> Call:
        """What is known about this request."""
        return self._calls.of(self.flow)

    # What comes in

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take an event, even while a hook is running: one that waits need not do so for a client that has gone."""
        if isinstance(event, RequestProtocolError):
            self.call.ended_by_client = True
            if self.call.attempts.waiter is not None:
                self.call.attempts.waiter.set()
        yield from super().handle_event(event)
        self._bound_pile(event)

    def _bound_pile(self, event: events.Event) -> None:
        # While a hook is running or a connection is being made, what comes is kept by mitmproxy. On HTTP/2 the others
        # would be stopped, too; there the route's limit has to do.
        if self._paused is None:
            if self._piled > MAX_PILED_BYTES:
                self._interrupts.let_go(self.context.client)
            self._piled = 0
        elif isinstance(event, RequestData) and self.context.client.alpn != b"h2":
            self._piled += len(event.data)
            if self._piled > MAX_PILED_BYTES:
                self._interrupts.hold(self.context.client)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Interrupted):
            yield from self._watch(self._interrupt(event.interruption))
            return
        if isinstance(event, ResponseData):
            self._silence.touch()
        if isinstance(event, RequestData) and self._outgrows_its_limit(event):
            yield from self._watch(self._refuse_size())
        else:
            yield from self._watch(super()._handle_event(event))
        if self._reads_on(event) and self.flow.response and self.call.refused_with:
            yield from self._watch(self._give(self.flow.response))

    def state_wait_for_request_headers(self, event: RequestHeaders) -> layer.CommandGenerator[None]:
        """Take a request's head; from here on the call can be reached."""
        yield from super().state_wait_for_request_headers(event)
        call = self.call
        call.line = Line(self.context.client.id, self.stream_id)
        if call.route is not None and self.flow.response is None:
            self._total.arm(Cause.TOTAL, call.route.timeouts.total)

    def _outgrows_its_limit(self, event: RequestData) -> bool:
        if self.client_state not in (self.state_consume_request_body, self.state_stream_request_body):
            return False
        self.call.request_bytes += len(event.data)
        return self.call.route is not None and self.call.request_bytes > self.call.route.max_body_bytes

    def _refuse_size(self) -> layer.CommandGenerator[None]:
        yield from self._abandon()
        if self.call.head_sent:
            yield from self._end(refusal.REQUEST_TOO_LARGE)
        else:
            self.flow.response = respond(refusal.REQUEST_TOO_LARGE, self.call)

    def _reads_on(self, event: events.Event) -> bool:
        is_reading = self.client_state in (self.state_consume_request_body, self.state_stream_request_body)
        more = isinstance(event, RequestData) or (isinstance(event, RequestHeaders) and not event.end_stream)
        return is_reading and more

    # Attempts

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect for admitted requests only: whatever may have gone wrong before, nobody else gets through here."""
        if (yield from self._is_over()):
            return False
        while self.call.credential is not None:
            self.call.attempts.count += 1
            request = self.flow.request
            connection, error = yield GetHttpConnection((request.host, request.port), request.scheme == "https", None)
            if connection is not None:
                self._connection = self.context.server = self.flow.server_conn = connection
                return not (yield from self._is_over())
            if (yield from self._is_over()):
                return False
            decision = self._recovery.judge(self.flow, failure.of_connect_error(error), can_resend=True)
            if decision.action is not Action.AGAIN:
                yield from self._end(decision.refusal)
                return False
            if not (yield from self._prepare_retry()):
                return False
        yield from self._end(refusal.SERVICE_UNAVAILABLE)
        return False

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> layer.CommandGenerator[None]:
        """Take the answer's head, or what follows from it if it is a failure."""
        failed = failure_in(event.response)
        if failed is None:
            yield from self._take_answer(event)
            return
        self._silence.disarm()
        decision = self._recovery.judge(self.flow, failed, self._can_resend())
        if decision.action is Action.PASS:
            yield from self._take_answer(event)
        elif decision.action is Action.END:
            yield from self._abandon()
            yield from self._end(decision.refusal)
        elif event.end_stream or self._is_short(event.response):
            self.server_state = self.state_discard_answer
            self._silence.arm(Cause.FIRST_BYTE, DISCARD_SECONDS)
        else:
            yield from self._abandon()
            yield from self._try_again()

    def state_discard_answer(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a failed answer to its end, then try again."""
        if isinstance(event, ResponseEndOfMessage):
            self._silence.disarm()
            yield from self._try_again()

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """A connection broke: the client's, or the provider's, which is a failed attempt if nothing was answered."""
        is_upstream = isinstance(event, ResponseProtocolError)
        if is_upstream and self.server_state == self.state_discard_answer:
            yield from self._try_again()
        elif is_upstream and self.server_state == self.state_wait_for_response_headers and self._connection:
            failed = failure.CLOSED if "closed" in event.message else failure.GARBLED
            yield from self._follow(self._recovery.judge(self.flow, failed, self._can_resend()))
        else:
            yield from super().handle_protocol_error(event)

    def _follow(self, decision: Decision) -> layer.CommandGenerator[None]:
        yield from self._abandon()
        if decision.action is Action.AGAIN:
            yield from self._try_again()
        else:
            yield from self._end(decision.refusal)

    def _take_answer(self, event: ResponseHeaders) -> layer.CommandGenerator[None]:
        yield from super().state_wait_for_response_headers(event)

    def _can_resend(self) -> bool:
        is_complete = self.client_state == self.state_done and self.flow.request.raw_content is not None
        return is_complete and not self.flow.request.stream and not self.call.head_sent

    @staticmethod
    def _is_short(response: http.Response) -> bool:
        length = response.headers.get("content-length", "")
        return length.isdecimal() and int(length) <= MAX_DISCARDED_BYTES

    def _abandon(self) -> layer.CommandGenerator[None]:
        """Close the provider's connection; nothing more is heard of it."""
        self._silence.disarm()
        if self._connection is not None:
            gone = RequestProtocolError(self.stream_id, "given up", ErrorCode.CANCEL)
            yield SendHttp(gone, self._connection)
            self._connection = None

    def _try_again(self) -> layer.CommandGenerator[None]:
        self.server_state = self.state_wait_for_response_headers
        self._connection = None
        if (yield from self._prepare_retry()) and (yield from self.make_server_connection()):
            yield from self._send_request()

    def _prepare_retry(self) -> layer.CommandGenerator[bool]:
        yield UpstreamRetryHook(self.flow)
        if (yield from self._is_over()):
            return False
        if self.flow.response is not None:
            yield from self._give(self.flow.response)
            return False
        return True

    def _send_request(self) -> layer.CommandGenerator[None]:
        content = self.flow.request.raw_content
        server = self.context.server
        yield SendHttp(RequestHeaders(self.stream_id, self.flow.request, not content), server)
        if content:
            yield SendHttp(RequestData(self.stream_id, content), server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    # Interruptions

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Look whether the client went away, or somebody killed the flow, while a hook was running."""
        if any(isinstance(event, RequestProtocolError) for event in self._paused_event_queue):
            self.call.ended_by_client = True
        is_killed = yield from super().check_killed(emit_error_hook)
        if is_killed:
            yield from self._abandon()
            yield DropStream(self.stream_id)
        return is_killed

    def _is_over(self) -> layer.CommandGenerator[bool]:
        """Look whether the request was ended while it was waiting for something."""
        if (yield from self.check_killed(True)):
            return True
        return self.call.interruption is not None and (yield from self._interrupt(self.call.interruption))

    def _expire(self, cause: Cause) -> None:
        self._interrupts.interrupt(self.call, timed_out(cause))

    def _interrupt(self, interruption: Interruption) -> layer.CommandGenerator[bool]:
        """End the request; tells whether it was still there to be ended."""
        if self.state_errored in (self.client_state, self.server_state) or self.server_state == self.state_done:
            return False
        if interruption.cause is Cause.FIRST_BYTE:
            yield from self._miss_first_byte()
        else:
            self.call.interruption = interruption
            yield from self._abandon()
            yield from self._end(interruption.refusal)
        return True

    def _miss_first_byte(self) -> layer.CommandGenerator[None]:
        if self._silence.is_armed:
            return  # Meanwhile it came.
        if self.server_state == self.state_discard_answer:
            yield from self._abandon()
            yield from self._try_again()
        elif self.server_state == self.state_wait_for_response_headers:
            yield from self._follow(self._recovery.judge(self.flow, failure.FIRST_BYTE_TIMEOUT, self._can_resend()))

    def end_websocket(self, interruption: Interruption) -> layer.CommandGenerator[None]:
        """Close a connection that has become a WebSocket: a close frame (RFC 6455 section 5.5.1), then the end."""
        self.call.interruption, self.call.ending = interruption, interruption.refusal
        yield commands.SendData(self.context.client, _CLOSE_FRAME)
        yield commands.CloseConnection(self.context.client)

    # What goes out

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
            else:
                reply = yield command
            if isinstance(command, DropStream):
                self._silence.disarm()
                self._total.disarm()

    def _send(self, command: SendHttp) -> layer.CommandGenerator[None]:
        event = command.event
        if isinstance(event, RequestHeaders) and self.call.credential is not None:
            with worn(self.call.credential, self.flow.request):
                yield command
        elif isinstance(event, ResponseProtocolError):
            yield from self._send_error(command, event)
        else:
            self._note_progress(event)
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
            return invalid_request("The request is not well-formed HTTP.")
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
