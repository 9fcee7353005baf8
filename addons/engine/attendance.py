"""The life of one client: it comes, is served until its connection ends, and leaves nothing behind.

mitmproxy's `handle_client`, in one task where that has three: nothing here reads, and nothing watches the clock.
"""

import asyncio
import time
from typing import TYPE_CHECKING, cast

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import server_hooks
from mitmproxy.proxy.server import ConnectionHandler

if TYPE_CHECKING:
    from addons.engine.handler import EngineHandler

# asyncio and uvloop pause a writer whose buffer is larger than this, so that waiting for a smaller one is no waiting.
HIGH_WATER = 64 << 10


async def attend(handler: "EngineHandler") -> None:
    """Serve a client until its connection has ended. Cancelling this while it is served ends the connection."""
    client = handler.client
    handler.log("client connect")
    await handler.handle_hook(server_hooks.ClientConnectedHook(client))
    if client.error:
        handler.log("client kill connection")
        handler.hang_up(client)
    else:
        await _serve(handler)
    handler.timeout_watchdog.stop()
    while handler.wakeup_timer:
        handler.wakeup_timer.pop().cancel()
    handler.log("client disconnect")
    client.timestamp_end = time.time()
    await handler.handle_hook(server_hooks.ClientDisconnectedHook(client))
    await _close_the_others(handler)


async def _serve(handler: "EngineHandler") -> None:
    task = cast("asyncio.Task[None]", asyncio.current_task())
    handler.transports[handler.client].handler = task
    handler.timeout_watchdog.start()
    try:
        handler.open_up()
        await handler.over.wait()
    except asyncio.CancelledError:
        task.uncancel()  # It was the connection that was meant.
        handler.client.state = ConnectionState.CLOSED
        handler.say_it_ended()
    finally:
        handler.hang_up(handler.client)


async def _close_the_others(handler: "EngineHandler") -> None:
    tasks = [io.handler for io in handler.transports.values() if io.handler is not None]
    for task in tasks:
        task.cancel("client disconnected")
    if tasks:
        await asyncio.wait(tasks)


def has_full_writers(handler: ConnectionHandler) -> bool:
    """Whether waiting for the writers would wait for something; one that is broken has to be found, too."""
    for transport in handler.transports.values():
        if transport.writer is not None:
            inner = cast(asyncio.StreamWriter, transport.writer).transport
            if inner.is_closing() or inner.get_write_buffer_size() > HIGH_WATER:
                return True
    return False
