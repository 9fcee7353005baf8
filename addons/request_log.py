"""Writes one JSON line for each request, admitted or not: who, what, how it ended, how long it took. No bodies."""

from mitmproxy import http

from addons import words
from addons.call import Calls
from addons.meter import broke_off, error_code_of, outcome_of, status_of
from shared import logs

log = logs.EventLog("request")


class RequestLog:
    """Logs at the end of a flow; the path is logged without its query, which may hold anything."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; a WebSocket has only begun."""
        if flow.websocket is None:
            self._log(flow, is_broken=False)

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off, or never came."""
        self._log(flow, is_broken=True)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The WebSocket is closed."""
        self._log(flow, broke_off(flow))

    def _log(self, flow: http.HTTPFlow, is_broken: bool) -> None:
        call = self.calls.of(flow)
        if call.is_logged:
            return
        call.is_logged = True
        caller, usage, outcome = call.caller, call.answer.usage, outcome_of(call, is_broken)
        log.info(
            "request",
            request_id=call.request_id,
            correlation_id=call.correlation_id,
            method=flow.request.method,
            path=words.path(call, flow.request.path.partition("?")[0][:512]),
            status=status_of(call, flow),
            outcome=outcome.value,
            code=error_code_of(call, outcome),
            project_id=caller.project.id if caller else None,
            token_id=call.token_id or None,
            token_label=words.word(call, call.token_label) or None,
            upstream_key_id=call.credential.key_id if call.credential else None,
            route=call.route.name if call.route else None,
            model=words.word(call, call.answer.model or call.model),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            attempts=call.attempts.count,
            chunks=call.chunks,
            response_bytes=call.response_bytes,
            duration_ms=round(call.elapsed_ms(), 3),
            first_byte_ms=call.first_byte_ms,
        )
