"""Takes what comes on connections to their streams and back: mitmproxy's HTTP layer, with less work for each event."""

from collections.abc import Iterable

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpLayer,
    HttpStream,
    RegisterHttpConnection,
    SendHttp,
)
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders


class RoutingLayer(HttpLayer):
    """Does what HttpLayer does, the commonest first."""

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take an event. Only connections and streams ever pause, so that nothing is noted here for going on later."""
        steps: layer.CommandGenerator[None] = self._handle_event(event)
        return steps

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> layer.CommandGenerator[None]:
        """Give an event to a connection or a stream, and what comes of it to whom it is for, the commonest first."""
        for command in child.handle_event(event):
            if isinstance(command, SendHttp):
                yield from self.event_to_child(self.connections[command.connection], command.event)
            elif isinstance(command, ReceiveHttp):
                yield from self._take_http(command.event)
            elif isinstance(command, commands.SendData):
                yield command
            else:
                yield from self._follow(child, command)

    def _take_http(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestHeaders):
            yield from self.make_stream(event.stream_id)
        # For one that has ended there may still come data, or an error.
        if (stream := self.streams.get(event.stream_id)) is not None:
            yield from self.event_to_child(stream, event)

    def _follow(self, child: layer.Layer, command: commands.Command) -> Iterable[commands.Command]:
        if command.blocking or isinstance(command, commands.RequestWakeup):
            self.command_sources[command] = child  # Who is told when it has been done.
        if isinstance(command, DropStream):
            self.streams.pop(command.stream_id, None)
            return ()
        if isinstance(command, GetHttpConnection):
            return self.get_connection(command)
        if isinstance(command, RegisterHttpConnection):
            return self.register_connection(command)
        if isinstance(command, commands.OpenConnection):
            self.connections[command.connection] = child
        return (command,)
