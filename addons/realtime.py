"""Meters WebSocket connections such as OpenAI's Realtime API: messages both ways, and the usage that answers report."""

from dataclasses import fields

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from addons.call import Call, Calls
from addons.dialects import reading
from addons.dialects.answer import Answer, Said
from addons.meter import Meter, broke_off
from shared.models import Usage

_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "is_estimate")


def plus(one: Usage, other: Usage) -> Usage:
    """Return the sum of two usages; what neither knows stays unknown."""
    sums = {name: _plus(getattr(one, name), getattr(other, name)) for name in _COUNTS}
    return Usage(**sums, is_estimate=one.is_estimate or other.is_estimate)


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


class Realtime:
    """One connection is one request; each of its answers has a usage of its own, and they add up."""

    def __init__(self, calls: Calls, meter: Meter) -> None:
        self.calls = calls
        self._meter = meter

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Count a message; mitmproxy would keep it for ever, we do not."""
        if flow.websocket is None:
            return
        message, call = flow.websocket.messages[-1], self.calls.of(flow)
        del flow.websocket.messages[:-1]
        if message.from_client:
            call.request_bytes += len(message.content)
        else:
            self._read(call, message)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The connection is over."""
        if flow.websocket is not None and flow.websocket.closed_by_client:
            self.calls.of(flow).ended_by_client = True
        self._meter.settle(flow, broke_off(flow))

    def _read(self, call: Call, message: WebSocketMessage) -> None:
        if call.first_byte_ms is None:
            call.first_byte_ms = call.elapsed_ms()
        call.chunks += 1
        call.response_bytes += len(message.content)
        if call.said is None:
            call.said = Said()
        if (read := reading(call.dialect)) and message.is_text:
            known = Answer(call.answer.model, Usage(), call.answer.finish_reason)
            found = read(known, message.content, call.said)
            if found is not known:
                self._add(call, found)

    @staticmethod
    def _add(call: Call, found: Answer) -> None:
        if found.is_final:
            call.said = Said()  # What has been counted by the provider needs no estimate.
        call.answer = Answer(found.model, plus(call.answer.usage, found.usage), found.finish_reason)
