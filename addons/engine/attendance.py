"""The life of one client: it comes, is served until its connection ends, and leaves nothing behind.

mitmproxy's `handle_client`, in one task where that has three: nothing here reads, and nothing watches the clock.
"""

import asyncio
import time
from typing import TYPE_CHECKING, cast

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events, server_hooks
from mitmproxy.proxy.server import ConnectionHandler

from addons.engine.client_line import ClientLine

if TYPE_CHECKING:
    from addons.engine.handler import EngineHandler

# asyncio and uvloop pause a writer whose buffer is larger than this, so that waiting for a smaller one is no waiting.
HIGH_WATER = 64 << 10


class Attendance:
    """What a client's connection tells, and its handler does about it."""

    def __init__(self, handler: "EngineHandler", line: ClientLine) -> None:
        self._handler = handler
        self._line = line
        self._over = asyncio.Event()
        self._has_ended = False

    async def run(self) -> None:
        """Serve a client until its connection has ended. Cancelling this while it is served ends the connection."""
        handler, client = self._handler, self._handler.client
        handler.log("client connect")
        await handler.handle_hook(server_hooks.ClientConnectedHook(client))
        if client.error:
            handler.log("client kill connection")
            handler.hang_up(client)
        else:
            await self._serve()
        handler.timeout_watchdog.stop()
        while handler.wakeup_timer:
            handler.wakeup_timer.pop().cancel()
        handler.log("client disconnect")
        client.timestamp_end = time.time()
        await handler.handle_hook(server_hooks.ClientDisconnectedHook(client))
        await self._close_the_others()

    async def _serve(self) -> None:
        handler, client = self._handler, self._handler.client
        task = cast("asyncio.Task[None]", asyncio.current_task())
        handler.transports[client].handler = task
        handler.timeout_watchdog.start()
        try:
            handler.open_up()
            await self._over.wait()
        except asyncio.CancelledError:
            task.uncancel()  # It was the connection that was meant.
            client.state = ConnectionState.CLOSED
            self._say_it_ended()
        finally:
            handler.hang_up(client)

    async def _close_the_others(self) -> None:
        tasks = [io.handler for io in self._handler.transports.values() if io.handler is not None]
        for task in tasks:
            task.cancel("client disconnected")
        if tasks:
            await asyncio.wait(tasks)

    def time_out(self) -> None:
        """Nothing has happened for too long."""
        transport = self._handler.transports.get(self._handler.client)
        if transport is not None and transport.handler is not None:
            self._handler.log(f"Closing connection due to inactivity: {self._handler.client}")
            transport.handler.cancel("timeout")

    # ClientLine's host

    def receive(self, received: bytes) -> None:
        """Hand on what the client has sent; wait for full writers before there is more."""
        self._handler.take_event(events.DataReceived(self._handler.client, received))
        if has_full_writers(self._handler):
            self._line.pause()
            self._handler.start(self._wait_for_writers(), "waiting for full writers")

    def end(self, is_lost: bool) -> None:
        """The client sends no more. Stay for as long as something may be sent to it."""
        client = self._handler.client
        client.state &= ~ConnectionState.CAN_READ
        self._say_it_ended()
        if is_lost or client.state is not ConnectionState.CAN_WRITE:
            self._over.set()

    async def _wait_for_writers(self) -> None:
        await self._handler.drain_writers()  # type: ignore[no-untyped-call]
        self._line.resume()

    def _say_it_ended(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._handler.take_event(events.ConnectionClosed(self._handler.client))


def has_full_writers(handler: ConnectionHandler) -> bool:
    """Whether waiting for the writers would wait for something; one that is broken has to be found, too."""
    for transport in handler.transports.values():
        if transport.writer is not None:
            inner = cast(asyncio.StreamWriter, transport.writer).transport
            if inner.is_closing() or inner.get_write_buffer_size() > HIGH_WATER:
                return True
    return False
