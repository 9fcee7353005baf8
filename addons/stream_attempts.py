"""Attempts at the provider: connecting, failing, trying again with what else there is, and giving up in good order."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, GetHttpConnection, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from addons import failure, refusal
from addons.call import Calls
from addons.ending import Cause, Interruption
from addons.interrupts import Interrupts
from addons.recovery import Action, Decision, Recovery, failure_in
from addons.stream_answers import AnsweringStream

# A failed answer shorter than this is read to its end, if that is soon, so that its connection can be used again.
MAX_DISCARDED_BYTES = 64 << 10
DISCARD_SECONDS = 1.0


@dataclass
class UpstreamRetryHook(commands.StartHook):
    """An attempt has failed and another one follows: rooms may wait, and pick another key or provider."""

    flow: http.HTTPFlow


class AttemptingStream(AnsweringStream):
    """Sends a request as often as `recovery` says; `_connection` is the one that the current attempt uses."""

    def __init__(
        self, context: Context, stream_id: int, calls: Calls, recovery: Recovery, interrupts: Interrupts
    ) -> None:
        super().__init__(context, stream_id, calls, interrupts)
        self._recovery = recovery
        self._connection: Server | None = None

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
        failed = self._failure_in(event.response)
        if self._switches_unasked(event.response):
            yield from self._follow(self._recovery.judge(self.flow, failure.GARBLED, self._can_resend()))
            return
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

    def _failure_in(self, response: http.Response) -> failure.Failure | None:
        # A provider that got tired of waiting for the rest of an upload speaks of the client.
        is_about_client = response.status_code == 408 and self.client_state != self.state_done
        return None if is_about_client else failure_in(response)

    def _switches_unasked(self, response: http.Response) -> bool:
        return response.status_code == 101 and "upgrade" not in self.flow.request.headers

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
