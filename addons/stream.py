"""One request and its answer, in mitmproxy's HTTP layer: what comes from the client, and from us in its middle."""

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._events import RequestData, RequestHeaders, RequestProtocolError, ResponseData

from addons import refusal
from addons.call import Calls, Line
from addons.ending import Cause, Interruption
from addons.interrupts import Interrupted, Interrupts
from addons.recovery import Recovery
from addons.refusal import respond
from addons.stream_attempts import AttemptingStream

# What a client may send on while its request cannot be looked at.
MAX_PILED_BYTES = 1 << 20
# 1008: policy violation.
_CLOSE_FRAME = b"\x88\x02" + (1008).to_bytes(2, "big")


class ProxyStream(AttemptingStream):
    """mitmproxy's stream, with our manners."""

    def __init__(
        self, context: Context, stream_id: int, calls: Calls, recovery: Recovery, interrupts: Interrupts
    ) -> None:
        super().__init__(context, stream_id, calls, recovery, interrupts)
        self._piled = 0

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take an event, even while a hook is running: one that waits need not do so for a client that has gone."""
        if isinstance(event, RequestProtocolError):
            self.call.ended_by_client = True
            if self.call.attempts.waiter is not None:
                self.call.attempts.waiter.set()
        return super().handle_event(event) if self._paused is None else self._handle_meanwhile(event)

    def _handle_meanwhile(self, event: events.Event) -> layer.CommandGenerator[None]:
        # While a hook is running or a connection is being made, what comes is kept by mitmproxy. On HTTP/2 the others
        # would be stopped, too; there the route's limit has to do.
        self._is_late = True
        yield from super().handle_event(event)
        self._is_late = False
        if self._paused is None:
            if self._piled > MAX_PILED_BYTES:
                self._interrupts.let_go(self.context.client)
            self._piled = 0
        elif isinstance(event, RequestData) and self.context.client.alpn != b"h2":
            self._piled += len(event.data)
            if self._piled > MAX_PILED_BYTES:
                self._interrupts.hold(self.context.client)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestHeaders | RequestData):
            return self._read(event)
        if isinstance(event, Interrupted):
            return self._watch(self._interrupt(event.interruption))
        if isinstance(event, ResponseData):
            self._silence.touch()
        return self._watch(super()._handle_event(event))

    def _read(self, event: RequestHeaders | RequestData) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestData) and self._outgrows_its_limit(event):
            yield from self._watch(self._refuse_size())
        else:
            yield from self._watch(super()._handle_event(event))
        if self._known is not None and self._known.refused_with and self.flow.response and self._reads_on(event):
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

    def end_websocket(self, interruption: Interruption) -> layer.CommandGenerator[None]:
        """Close a connection that has become a WebSocket: a close frame (RFC 6455 section 5.5.1), then the end."""
        self.call.interruption, self.call.ending = interruption, interruption.refusal
        yield commands.SendData(self.context.client, _CLOSE_FRAME)
        yield commands.CloseConnection(self.context.client)
