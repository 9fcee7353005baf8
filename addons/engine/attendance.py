"""The life of one open connection: read, pass on, wait for full writers, and the half-closed end."""

import asyncio
from typing import cast

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.server import ConnectionHandler

# asyncio and uvloop pause a writer whose buffer is larger than this, so that waiting for a smaller one is no waiting.
HIGH_WATER = 64 << 10
READ_BYTES = 65535


async def attend(handler: ConnectionHandler, connection: Connection) -> None:
    """Read until the other side ends or the task is cancelled, then stay for as long as something may be sent."""
    cancelled: asyncio.CancelledError | None = None
    try:
        await _read(handler, connection)
    except asyncio.CancelledError as error:
        cancelled = error
    if cancelled is None and connection.transport_protocol == "tcp":
        connection.state &= ~ConnectionState.CAN_READ
    else:
        connection.state = ConnectionState.CLOSED
    await handler.server_event(events.ConnectionClosed(connection))
    if connection.state is ConnectionState.CAN_WRITE:
        await asyncio.Event().wait()
    if cancelled:
        raise cancelled


async def _read(handler: ConnectionHandler, connection: Connection) -> None:
    if connection is handler.client:
        await asyncio.sleep(0)  # Until mitmproxy has noted which task this is.
    reader = cast(asyncio.StreamReader, handler.transports[connection].reader)
    while True:
        try:
            received = await reader.read(READ_BYTES)
        except OSError:
            return
        if not received:
            return
        await handler.server_event(events.DataReceived(connection, received))
        if has_full_writers(handler):
            await handler.drain_writers()


def has_full_writers(handler: ConnectionHandler) -> bool:
    """Whether waiting for the writers would wait for something; one that is broken has to be found, too."""
    for transport in handler.transports.values():
        if transport.writer is not None:
            inner = cast(asyncio.StreamWriter, transport.writer).transport
            if inner.is_closing() or inner.get_write_buffer_size() > HIGH_WATER:
                return True
    return False
