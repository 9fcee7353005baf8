"""The way to the provider and back: chooses our HTTP layer, which opens connections and knows interruptions."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.flow import Error
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, ServerTLSLayer, modes
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HTTPMode,
    RegisterHttpConnection,
)
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.proxy.tunnel import LayerStack

from addons.call import Calls
from addons.client_connection import ClientConnection
from addons.client_connection_h2 import Http2ClientConnection
from addons.forward import HANDSHAKE, Forward
from addons.interrupts import Interrupted, Interrupts
from addons.one_answer import OneAnswer
from addons.provider_connection import ProviderClient
from addons.recovery import Recovery
from addons.refusal import TLS_ONLY
from addons.retiring import Retiring
from addons.routing_layer import RoutingLayer
from addons.stream import ProxyStream
from addons.stream_answers import CallHook
from addons.sweeper import Sweeper

# Provider connections that one client connection may use at the same time: one for each of its streams.
MAX_CONNECTIONS = 1000

Handlers = Callable[[], Mapping[object, ConnectionHandler]]


class ProxyLayer(RoutingLayer):
    """One client connection with its streams, and the provider connections that they use.

    Unless it `does_tls`, whoever opens these connections does. `call_hook` is for its streams.
    """

    def __init__(
        self,
        context: Context,
        calls: Calls,
        recovery: Recovery,
        interrupts: Interrupts,
        does_tls: bool = True,
        call_hook: CallHook | None = None,
    ) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._calls = calls
        self._recovery = recovery
        self._interrupts = interrupts
        self._does_tls = does_tls
        self._call_hook = call_hook
        self._providers: dict[Server, ProviderClient] = {}
        self._connecting: dict[Server, asyncio.TimerHandle] = {}

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        for command in self._steps(event):
            if isinstance(command, commands.CloseConnection) and command.connection is self.context.client:
                self._note_closing(command)
            yield command

    def _steps(self, event: events.Event) -> Iterable[commands.Command]:
        if isinstance(event, events.ConnectionEvent):
            return self._take_from_connection(event)
        if isinstance(event, events.CommandCompleted):
            return self.event_to_child(self.command_sources.pop(event.command), event)
        if isinstance(event, Interrupted | RequestProtocolError):
            return self._reach(event)
        if isinstance(event, Retiring):
            return self._retire(event)
        if isinstance(event, events.Start):
            kind = Http2ClientConnection if self.context.client.alpn == b"h2" else ClientConnection
            client = self.connections[self.context.client] = kind(self.context.fork())
            return self.event_to_child(client, event)
        others: Iterable[commands.Command] = super()._handle_event(event)
        return others

    def _take_from_connection(self, event: events.ConnectionEvent) -> Iterable[commands.Command]:
        connection = self.connections.get(event.connection)
        if connection is not None:
            return self.event_to_child(connection, event)
        if event.connection.state is ConnectionState.CLOSED:
            return ()
        # It was forgotten when it had closed, and what its task had to say was still waiting.
        return (commands.CloseConnection(event.connection),)

    def _reach(self, event: Interrupted | RequestProtocolError) -> Iterable[commands.Command]:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return ()
        if isinstance(event, Interrupted) and isinstance(stream, ProxyStream) and stream.flow.websocket is not None:
            return stream.end_websocket(event.interruption)
        return self.event_to_child(stream, event)

    def _retire(self, event: Retiring) -> Iterable[commands.Command]:
        client = self.connections.get(self.context.client)
        if isinstance(client, ClientConnection | Http2ClientConnection):
            return client.retire(event.closes_idle and not self.streams)
        return ()

    def _note_closing(self, command: commands.CloseConnection) -> None:
        if not (isinstance(command, commands.CloseTcpConnection) and command.half_close):
            self._interrupts.see_it_close(self.context.client)

    def unfinished(self) -> list[ProxyStream]:
        """Return the streams that have not ended."""
        return [stream for stream in self.streams.values() if isinstance(stream, ProxyStream)]

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Open a stream of our kind."""
        context = self.context.fork()
        stream = ProxyStream(context, stream_id, self._calls, self._recovery, self._interrupts)
        stream.call_hook = self._call_hook
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        """Give a stream a provider connection that carries no request: an idle one, or a new one."""
        for server, client in self._providers.items():
            if client.is_idle and event.connection_spec_matches(server):
                stream = self.command_sources.pop(event)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (server, None)))
                return
        self._forget_closed()
        yield from self._connect(event)

    def register_connection(self, command: RegisterHttpConnection) -> layer.CommandGenerator[None]:
        """A provider connection is there, or could not be made."""
        if timer := self._connecting.pop(command.connection, None):  # type: ignore[call-overload]
            timer.cancel()
        for event in self.waiting_for_establishment.get(command.connection, []):
            self._note_connecting(event, None)
        yield from super().register_connection(command)

    def _connect(self, event: GetHttpConnection) -> layer.CommandGenerator[None]:
        context, stack = self.context.fork(), LayerStack()
        context.server = server = Server(address=event.address)
        if event.tls:
            server.tls, server.sni, server.alpn_offers = True, event.address[0], (b"http/1.1",)
        if event.tls and self._does_tls:
            stack /= ServerTLSLayer(context)
        self._providers[server] = ProviderClient(context)
        stack /= self._providers[server]
        self.connections[server] = stack[0]
        self.waiting_for_establishment[server].append(event)
        self._note_connecting(event, server)
        self._limit_connecting(event, server)
        yield from self.event_to_child(stack[0], events.Start())

    def _note_connecting(self, event: GetHttpConnection, server: Server | None) -> None:
        stream = self.command_sources[event]
        if isinstance(stream, ProxyStream):
            stream.call.attempts.connecting = server

    def _limit_connecting(self, event: GetHttpConnection, server: Server) -> None:
        stream = self.command_sources[event]
        route = stream.call.route if isinstance(stream, ProxyStream) else None
        if route is not None and route.timeouts.connect is not None:
            give_up = self._interrupts.give_up_connecting
            loop = asyncio.get_running_loop()
            self._connecting[server] = loop.call_later(route.timeouts.connect, give_up, self.context.client.id, server)

    def _forget_closed(self) -> None:
        # mitmproxy keeps every connection that a client's connection has ever used.
        in_use = {stream.context.server for stream in self.streams.values()}
        for server in [server for server in self._providers if server not in in_use]:
            if not server.connected and server not in self.waiting_for_establishment:
                del self._providers[server]
                self.connections.pop(server, None)


class Upstream:
    """Takes over whatever arrives; what does not speak HTTP is answered with 400.

    With `requires_tls` clients of reverse mode must use TLS, and may then use HTTP/2; without it they can use neither.
    Those of other modes pass `forward` first.
    """

    def __init__(
        self,
        calls: Calls,
        recovery: Recovery,
        interrupts: Interrupts,
        handlers: Handlers,
        forward: Forward,
        requires_tls: bool = False,
    ) -> None:
        self.calls = calls
        self._forward = forward
        self._requires_tls = requires_tls
        self._recovery = recovery
        self._interrupts = interrupts
        self._handlers = handlers
        self._layers: dict[str, ProxyLayer] = {}
        self._sweeper = Sweeper()

    def next_layer(self, choice: layer.NextLayer) -> None:
        """Answer mitmproxy's question for the next layer of a connection."""
        is_reverse = isinstance(choice.context.layers[0], modes.ReverseProxy)
        entrance = self._entrance(choice) if is_reverse else self._forward.entrance(choice)
        choice.layer = entrance or self._proxy_layer(choice.context)

    def _entrance(self, choice: layer.NextLayer) -> layer.Layer | None:
        context = choice.context
        if not self._requires_tls or context.client.tls:
            return None
        is_tls = choice.data_client()[:1] == HANDSHAKE
        return ClientTLSLayer(context) if is_tls else OneAnswer(context, TLS_ONLY)

    def _proxy_layer(self, context: Context) -> ProxyLayer:
        does_tls = self._does_tls(context.client)
        if does_tls:
            self._lift_limit(context.client.id)
        call_hook = getattr(self._handlers().get(context.client.id), "call_hook", None)
        made = ProxyLayer(context, self.calls, self._recovery, self._interrupts, does_tls, call_hook)
        self._layers[context.client.id] = made
        return made

    def _does_tls(self, client: Client) -> bool:
        # The engine's connections are shared by clients, and so is the TLS on them.
        return not getattr(self._handlers().get(client.id), "does_tls", False)

    def _lift_limit(self, client_id: str) -> None:
        # mitmproxy opens five connections for one client and provider, and lets the sixth stream wait.
        if handler := self._handlers().get(client_id):
            handler.max_conns = defaultdict(partial(asyncio.Semaphore, MAX_CONNECTIONS))

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """Make sure that a provider's connection is closed."""
        self._close(data.client.id, data.server)

    async def client_disconnected(self, client: Client) -> None:
        """Make sure that a client's connection is closed, and that what it had asked for has ended."""
        self._close(client.id, client)
        layer_of_client, handler = self._layers.pop(client.id, None), self._handlers().get(client.id)
        if layer_of_client is None or handler is None:
            return
        for stream in layer_of_client.unfinished():
            await self._hang_up(handler, stream)
        if self._does_tls(client):  # The engine leaves nothing, and would be kept in memory for so long.
            self._sweeper.plan(handler)

    def done(self) -> None:
        """The worker ends: nothing is left behind."""
        self._sweeper.finish()

    async def _hang_up(self, handler: ConnectionHandler, stream: ProxyStream) -> None:
        # A stream may not have heard that its client has gone; and one that is being connected may never hear anything
        # again, since the task that connects can be cancelled in a place where it tells nobody.
        gone = RequestProtocolError(stream.stream_id, "client disconnected", ErrorCode.CLIENT_DISCONNECTED)
        await handler.server_event(gone)
        if stream.call.attempts.connecting is not None:
            stream.flow.error = stream.flow.error or Error("client disconnected")
            await ctx.master.addons.trigger_event(HttpErrorHook(stream.flow))

    def _close(self, client_id: str, connection: Connection) -> None:
        # A connection that is closed by command while more data is waiting may miss being closed: mitmproxy's task can
        # be cancelled in a place where it does not expect that, and leaves its socket behind.
        handler = self._handlers().get(client_id)
        transport = handler.transports.pop(connection, None) if handler else None
        if transport is not None and transport.writer is not None:
            transport.writer.close()
