"""Counts each request once, when it ends, with what ended it; and those that have not ended."""

from collections.abc import Callable
from weakref import WeakSet

from mitmproxy import http
from mitmproxy.flow import Error

from addons.call import Call, Calls
from addons.ending import Cause
from addons.meter import broke_off, outcome_of, status_of
from addons.metrics import Metrics
from shared.models import Outcome, Usage

_NOTHING_USED = Usage()


def late_failure(call: Call, message: str) -> str | None:
    """Return the kind of a provider's failure that ended a broken call with nothing left to decide, else None.

    Failures before the answer began are counted where they are judged, time-outs of the whole request excepted.
    `message` is mitmproxy's.
    """
    if call.interruption is not None:
        return None if call.interruption.cause is Cause.CUT else call.interruption.cause.value
    if call.ended_by_client or not call.head_sent or message == Error.KILLED_MESSAGE:
        return None
    return "closed" if "closed" in message else "protocol"


class RequestMetrics:
    """Sees every request, refused ones too. A flow that vanishes without an end is in flight no longer.

    `note_refusal` counts refusals by project ("" if not known) and code.
    """

    def __init__(self, calls: Calls, metrics: Metrics, note_refusal: Callable[[str, str], None]) -> None:
        self.calls = calls
        self._metrics = metrics
        self._note_refusal = note_refusal
        self._running: WeakSet[http.HTTPFlow] = WeakSet()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request has come in."""
        self._running.add(flow)
        self._metrics.requests_in_flight(len(self._running))

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; that to a WebSocket handshake is only a beginning."""
        if flow.websocket is None:
            self._end(flow, is_broken=False)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The WebSocket is closed."""
        self._end(flow, broke_off(flow))

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off, or never came."""
        self._end(flow, is_broken=True)

    def _end(self, flow: http.HTTPFlow, is_broken: bool) -> None:
        call = self.calls.of(flow)
        if call.is_counted:
            return
        call.is_counted = True
        self._running.discard(flow)
        self._metrics.requests_in_flight(len(self._running))
        self._count_end(call, status_of(call, flow), outcome_of(call, is_broken))
        if is_broken:
            self._count_failure(call, flow.error.msg if flow.error else "")

    def _count_end(self, call: Call, status: int, outcome: Outcome) -> None:
        provider, route = _provider(call), call.route.name if call.route else ""
        first_byte = None if call.first_byte_ms is None else call.first_byte_ms / 1000
        self._metrics.request_ended(provider, route, status, outcome.value, call.elapsed_ms() / 1000, first_byte)
        if outcome is Outcome.REFUSED and call.refused_with is not None:
            self._metrics.refused(call.refused_with)
            self._note_refusal(call.project_id, call.refused_with)
        if (usage := call.answer.usage) != _NOTHING_USED:
            self._metrics.tokens_used(provider, usage.prompt_tokens, usage.completion_tokens)

    def _count_failure(self, call: Call, message: str) -> None:
        kind = late_failure(call, message)
        if kind is not None:
            self._metrics.upstream_failed(_provider(call), kind)
            if call.head_sent and call.interruption is not None:
                self._metrics.stream_cut(kind)


def _provider(call: Call) -> str:
    return call.provider.name if call.provider else ""
