"""Taps the answer as it streams by and records exactly one usage event for each admitted request, however it ends."""

from collections.abc import Callable

from mitmproxy import http

from addons import provider_notes
from addons.call import Call, Calls
from addons.dialects.reader import AnswerReader
from addons.ending import Cause, Refusal
from addons.refusal import MALFORMED, UPSTREAM_ERROR
from addons.unsaid import usage_of
from shared import logs
from shared.models import Caller, Outcome, UsageEvent
from shared.providers import Route

Settle = Callable[[Call, UsageEvent], None]
log = logs.get("meter")


class Tap:
    """Sees every chunk before it is passed on, and passes on exactly that chunk."""

    def __init__(self, call: Call, reader: AnswerReader) -> None:
        self._call = call
        self._reader = reader
        self._is_reading = True

    def __call__(self, chunk: bytes) -> bytes:
        """Note one chunk; an empty one marks the proper end."""
        call = self._call
        if chunk:
            if call.first_byte_ms is None:
                call.first_byte_ms = call.elapsed_ms()
            call.chunks += 1
            call.response_bytes += len(chunk)
        if self._is_reading:
            self._read(chunk)
        return chunk

    def _read(self, chunk: bytes) -> None:
        try:
            self._reader.feed(chunk) if chunk else self._reader.finish()
            self._call.answer = self._reader.answer
        except Exception:  # Whatever is wrong with reading, the client gets its answer.
            self._is_reading = False
            log.exception("answer_not_read", request_id=self._call.request_id)


def outcome_of(call: Call, is_broken: bool) -> Outcome:
    """Tell how a call ended."""
    if not is_broken:
        return Outcome.FINISHED if call.refused_with is None else Outcome.REFUSED
    if call.interruption is not None and call.interruption.cause is Cause.CUT:
        return Outcome.CUT
    if call.ended_by_client:
        return Outcome.CLIENT_ABORTED
    return Outcome.UPSTREAM_ABORTED if call.credential else Outcome.REFUSED


def ending_of(call: Call) -> Refusal:
    """Return what the client of a broken call was told, if it still could be."""
    return call.ending or (UPSTREAM_ERROR if call.credential else MALFORMED)


def status_of(call: Call, flow: http.HTTPFlow) -> int:
    """Return the status that the client got: 0 for none, the provider's even if its answer broke off later."""
    if flow.response is not None:
        return flow.response.status_code
    return 0 if call.ended_by_client else ending_of(call).status


def error_code_of(call: Call, outcome: Outcome) -> str | None:
    """Return the code of what ended the call, None if it just ended."""
    if outcome in (Outcome.UPSTREAM_ABORTED, Outcome.CUT):
        return ending_of(call).code
    return call.refused_with or (ending_of(call).code if outcome is Outcome.REFUSED else None)


def broke_off(flow: http.HTTPFlow) -> bool:
    """Tell whether a WebSocket ended in another way than its two sides agreed on (RFC 6455 section 7.4.1)."""
    return flow.websocket is not None and flow.websocket.close_code not in (1000, 1001, 1005)


class Meter:
    """Counts chunks and bytes, reads model and usage, and settles each call once."""

    def __init__(self, calls: Calls, settle: Settle) -> None:
        self.calls = calls
        self._settle = settle

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Tap the provider's answer; without a tap mitmproxy would hold it until it is complete."""
        call = self.calls.of(flow)
        if flow.response is None or call.refused_with is not None:
            return
        headers = flow.response.headers
        reader = AnswerReader(call.dialect, headers.get("content-type", ""), headers.get("content-encoding", ""))
        call.said = reader.said
        call.provider_request_id = provider_notes.request_id(headers, call.correlation_id or call.request_id)
        call.provider_ms = provider_notes.processing_ms(headers)
        flow.response.stream = Tap(call, reader)

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; a WebSocket has only begun."""
        if flow.websocket is None:
            self.settle(flow, is_broken=False)

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off, or never came."""
        self.settle(flow, is_broken=True)

    def settle(self, flow: http.HTTPFlow, is_broken: bool) -> None:
        """Record the request, unless it has been recorded."""
        call = self.calls.of(flow)
        if call.is_settled or not call.is_admitted or call.caller is None or call.route is None:
            return
        call.is_settled = True
        call.event = event_of(call, flow, call.caller, call.route, outcome_of(call, is_broken))
        self._settle(call, call.event)


def event_of(call: Call, flow: http.HTTPFlow, caller: Caller, route: Route, outcome: Outcome) -> UsageEvent:
    """Return the usage event of a settled call."""
    return UsageEvent(
        request_id=call.request_id,
        occurred_at=call.occurred_at,
        project_id=caller.project.id,
        token_id=caller.token_id,
        upstream_key_id=call.credential.key_id if call.credential else None,
        sequence=caller.sequence,
        provider=caller.project.provider,
        route=route.name,
        method=flow.request.method,
        model=shortened(call.answer.model, 256) or call.model,
        status=status_of(call, flow),
        outcome=outcome,
        error_code=error_code_of(call, outcome),
        is_stream=call.is_stream,
        chunks=call.chunks,
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
        duration_ms=round(call.elapsed_ms(), 3),
        first_byte_ms=None if call.first_byte_ms is None else round(call.first_byte_ms, 3),
        usage=usage_of(call, flow, outcome),
        attempts=max(call.attempts.count, 1),
        model_asked=call.model,
        finish_reason=shortened(call.answer.finish_reason, 64),
        provider_request_id=call.provider_request_id,
        provider_ms=call.provider_ms,
    )


def shortened(text: str | None, length: int) -> str | None:
    """Return a provider's word as far as it has a place in the records; anything but one line of text has none."""
    return text[:length] if text and text[:length].isprintable() else None
