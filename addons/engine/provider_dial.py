"""Opens one provider connection and serves it until it ends: mitmproxy's `open_connection`, in steps.

What differs: whatever ends an attempt, the layer is told and nothing is left of it. mitmproxy keeps what has failed
among its transports, and tells nobody when it is cancelled while it waits for a hook or for its turn.
"""

import asyncio
import time

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
from mitmproxy.proxy.server_hooks import (
    ServerConnectedHook,
    ServerConnectErrorHook,
    ServerConnectHook,
    ServerConnectionHookData,
    ServerDisconnectedHook,
)
from mitmproxy.utils import human


class DialError(Exception):
    """The connection was not made; the message says why."""


class Dial:
    """One attempt. Run it as a task of its own: cancelling that gives up, or ends the connection."""

    def __init__(self, handler: ConnectionHandler, command: commands.OpenConnection) -> None:
        self._handler = handler
        self._command = command
        self._subject = ServerConnectionHookData(client=handler.client, server=command.connection)
        self._writer: asyncio.StreamWriter | None = None
        self._is_told = False

    @property
    def _server(self) -> Server:
        return self._command.connection

    async def run(self) -> None:
        """Connect, tell the layer, and stay until the connection has ended."""
        if not self._server.address:
            await self._tell("Cannot open connection, no hostname given.")
            return
        try:
            await self._ask_addons()
            async with self._handler.max_conns[self._server.address]:
                reader, self._writer = await self._connect()
                await self._serve(reader, self._writer)
        except DialError as error:
            await self._fail(str(error))
        except asyncio.CancelledError as error:
            if not self._is_told:
                await self._fail(str(error) or "connection cancelled")
            raise

    async def _ask_addons(self) -> None:
        await self._handler.handle_hook(ServerConnectHook(self._subject))
        if error := self._server.error:
            raise DialError(f"Connection killed: {error}")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._server.timestamp_start = time.time()
        try:
            host, port = (self._server.address or ("", 0))[:2]
            return await asyncio.open_connection(host, port, local_addr=self._server.sockname)
        except OSError as error:
            raise DialError(str(error) or "connection cancelled") from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, handler = self._server, self._handler
        server.timestamp_tcp_setup = time.time()
        server.state = ConnectionState.OPEN
        server.peername, server.sockname = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        handler.transports[server] = ConnectionIO(asyncio.current_task(), reader, writer)
        handler.log(f"server connect {self._name()}")
        await handler.handle_hook(ServerConnectedHook(self._subject))
        await self._tell(None)
        try:
            await handler.handle_connection(server)
        finally:
            handler.log(f"server disconnect {self._name()}")
            server.timestamp_end = time.time()
            await handler.handle_hook(ServerDisconnectedHook(self._subject))

    async def _fail(self, reason: str) -> None:
        self._handler.log(f"error establishing server connection: {reason}")
        self._server.state = ConnectionState.CLOSED
        self._server.error = self._server.error or reason
        if self._writer is not None:
            self._writer.close()
        await self._handler.handle_hook(ServerConnectErrorHook(self._subject))
        await self._tell(reason)

    async def _tell(self, error: str | None) -> None:
        self._is_told = True
        if error is not None:
            self._handler.transports.pop(self._server, None)
        await self._handler.server_event(events.OpenConnectionCompleted(self._command, error))

    def _name(self) -> str:
        name, reached = human.format_address(self._server.address), self._server.peername
        is_other = reached and self._server.address and reached[0] != self._server.address[0]
        return f"{name} ({human.format_address(reached)})" if is_other else name
