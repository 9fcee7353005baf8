"""Gets one provider connection for a client and serves it until it ends: mitmproxy's `open_connection`, in steps.

What differs: the connection comes from the worker's pool, where TLS has been done already, and goes back there if it
can; what it receives is handed on without a task that reads; and whatever ends an attempt, the layer is told and
nothing is left of it. mitmproxy keeps what has failed among its transports, and tells nobody when it is cancelled
while it waits for a hook or for its turn.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.proxy.server_hooks import (
    ServerConnectedHook,
    ServerConnectErrorHook,
    ServerConnectHook,
    ServerConnectionHookData,
    ServerDisconnectedHook,
)
from mitmproxy.utils import human

from addons.engine.attendance import has_full_writers
from addons.engine.line import Line
from addons.engine.provider_lines import Crowded, Origin, ProviderLines
from addons.engine.provider_tls import context_for
from addons.failure import CROWDED
from addons.provider_connection import OpenProvider

if TYPE_CHECKING:
    from addons.engine.handler import EngineHandler

log = logging.getLogger("mitmproxy.proxy.server")


class DialError(Exception):
    """There is no connection; the message says why."""


class Dial:
    """One attempt. Run it as a task of its own: cancelling that gives up, or ends the connection."""

    def __init__(self, handler: "EngineHandler", command: commands.OpenConnection) -> None:
        self._handler = handler
        self._command = command
        self._subject = ServerConnectionHookData(client=handler.client, server=command.connection)
        self._lines: ProviderLines | None = None
        self._line: Line | None = None
        self._over = asyncio.Event()
        self._is_told = self._has_ended = False

    @property
    def _server(self) -> Server:
        return self._command.connection

    async def run(self) -> None:
        """Get a connection, tell the layer, and stay until the connection has ended or serves somebody else."""
        if not self._server.address:
            await self._tell("Cannot open connection, no hostname given.")
            return
        try:
            await self._ask_addons()
            await self._serve(await self._borrow())
        except DialError as error:
            await self._fail(str(error))
        except asyncio.CancelledError as error:
            if not self._is_told:
                await self._fail(str(error) or "connection cancelled")
            raise
        finally:
            self._return(may_serve_again=False)

    async def _ask_addons(self) -> None:
        await self._handler.handle_hook(ServerConnectHook(self._subject))
        if error := self._server.error:
            raise DialError(f"Connection killed: {error}")

    async def _borrow(self) -> Line:
        try:
            self._lines, self._line = await self._handler.pool.borrow(self._origin())
        except Crowded:
            raise DialError(CROWDED) from None
        except (OSError, ValueError) as error:
            nothing_said = "TLS handshake failed" if self._server.tls else "connection failed"
            raise DialError(str(error) or nothing_said) from error
        self._lines.hand_out(self._line, self)
        if self._line.writer.is_closing():
            raise DialError("connection closed")
        return self._line

    def _origin(self) -> Origin:
        host, port = (self._server.address or ("", 0))[:2]
        if not (isinstance(self._command, OpenProvider) and self._server.tls):
            return Origin(host, port)
        name = self._server.sni or host
        return Origin(host, port, context_for(self._handler.layer.context.options, name), name)

    async def _serve(self, line: Line) -> None:
        handler = self._handler
        self._describe(line)
        handler.transports[self._server] = ConnectionIO(asyncio.current_task(), None, line.writer)
        self._log("connect")
        await handler.handle_hook(ServerConnectedHook(self._subject))
        await self._tell(None)
        if not self._server.state & ConnectionState.CAN_READ:
            self._say_it_ended()  # It came before there was anybody to tell.
        try:
            await self._over.wait()
        finally:
            self._return(may_serve_again=True)
            self._log("disconnect")
            self._server.timestamp_end = time.time()
            await handler.handle_hook(ServerDisconnectedHook(self._subject))

    def _describe(self, line: Line) -> None:
        server = self._server
        server.timestamp_start, server.timestamp_tcp_setup = line.dialed_at, line.connected_at
        server.state = ConnectionState.OPEN
        server.peername = line.writer.get_extra_info("peername")
        server.sockname = line.writer.get_extra_info("sockname")
        if line.handshake is not None:
            line.handshake.describe(server)

    # Line's user

    @property
    def is_idle(self) -> bool:
        """Whether the connection carries no request. Those that the rooms' layer has not asked for may always do."""
        return self._is_told and isinstance(self._command, OpenProvider) and self._command.is_idle()

    def receive(self, received: bytes) -> None:
        """Hand on what the provider has sent; wait for full writers before there is more."""
        self._handler.take_event(events.DataReceived(self._server, received))
        if self._line is not None and has_full_writers(self._handler):
            self._line.pause()
            self._handler.start(self._wait_for_writers(self._line), "waiting for full writers")

    def end(self, is_lost: bool) -> None:
        """The provider has closed the connection."""
        if is_lost:
            self._server.state = ConnectionState.CLOSED
            self._over.set()
        else:
            self._server.state &= ~ConnectionState.CAN_READ
        self._say_it_ended()

    def let_go(self) -> None:
        """Give the idle connection back to the pool."""
        self._return(may_serve_again=True)
        self._over.set()

    async def _wait_for_writers(self, line: Line) -> None:
        await self._handler.drain_writers()  # type: ignore[no-untyped-call]
        if line is self._line:
            line.resume()

    def _return(self, may_serve_again: bool) -> None:
        """Part with the connection, once; then the layer, too."""
        line, self._line = self._line, None
        if line is None or self._lines is None:
            return
        is_idle = may_serve_again and self.is_idle
        self._handler.forget(self._server)
        self._server.state = ConnectionState.CLOSED
        if is_idle:
            self._lines.give_back(line)
        else:
            self._lines.forget(line)
        self._say_it_ended()

    def _say_it_ended(self) -> None:
        if self._is_told and not self._has_ended:
            self._has_ended = True
            self._handler.take_event(events.ConnectionClosed(self._server))

    async def _fail(self, reason: str) -> None:
        self._handler.log(f"error establishing server connection: {reason}")
        self._server.state = ConnectionState.CLOSED
        self._server.error = self._server.error or reason
        await self._handler.handle_hook(ServerConnectErrorHook(self._subject))
        await self._tell(reason)

    async def _tell(self, error: str | None) -> None:
        self._is_told = True
        if error is not None:
            self._handler.transports.pop(self._server, None)
        await self._handler.server_event(events.OpenConnectionCompleted(self._command, error))

    def _log(self, event: str) -> None:
        if log.isEnabledFor(logging.INFO):
            self._handler.log(f"server {event} {self._name()}")

    def _name(self) -> str:
        name, reached = human.format_address(self._server.address), self._server.peername
        is_other = reached and self._server.address and reached[0] != self._server.address[0]
        return f"{name} ({human.format_address(reached)})" if is_other else name
