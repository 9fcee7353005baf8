"""The end of the road for connections that nothing is offered on: one answer in JSON, or none."""

from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context

from addons.call import Call
from addons.refusal import Refusal, respond


class OneAnswer(layer.Layer):
    """Answers whatever comes once, with a refusal, and closes."""

    def __init__(self, context: Context, refusal: Refusal) -> None:
        super().__init__(context)
        self._refusal = refusal
        self._has_answered = False

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and not self._has_answered:
            self._has_answered = True
            response = respond(self._refusal, Call())
            response.headers["connection"] = "close"
            response.timestamp_end = response.timestamp_start
            yield commands.SendData(event.connection, http1.assemble_response(response))
            yield commands.CloseConnection(event.connection)


class NoAnswer(layer.Layer):
    """Drops what comes."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield commands.CloseConnection(self.context.client)
