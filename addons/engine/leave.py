"""How a worker takes leave: no new connections, running requests finish, and what takes too long ends cleanly."""

import asyncio
import logging
from collections.abc import Mapping
from typing import cast

from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.server import ConnectionHandler

from addons.call import Call
from addons.ending import Cause, Interruption
from addons.engine.listener import Listener
from addons.interrupts import Interrupts
from addons.retiring import RETIRED, Retiring
from addons.stream import ProxyStream

# A client may have sent its next request just before it could learn that we are leaving: it is waited for so long.
GRACE_SECONDS = 1.0
# What requests that were ended may take to say so to their clients.
LAST_SECONDS = 2.0
PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class Leave:
    """Empties one listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._interrupts = Interrupts(lambda: cast(Mapping[object, ConnectionHandler], listener.connections))

    async def take(self, seconds: float) -> None:
        """Return when no connection is left; running requests get `seconds`."""
        self._listener.close()
        grace = min(GRACE_SECONDS, seconds)
        if not await self._wait(grace, closes_idle=False) and not await self._wait(seconds - grace, closes_idle=True):
            self._end_requests()
            await self._wait(LAST_SECONDS, closes_idle=True)

    async def _wait(self, seconds: float, closes_idle: bool) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._listener.connections and loop.time() < deadline:
            for handler in list(self._listener.connections.values()):
                await self._tell(handler, closes_idle)
            await asyncio.sleep(PAUSE_SECONDS)
        return not self._listener.connections

    async def _tell(self, handler: ConnectionHandler, closes_idle: bool) -> None:
        if _http_layers(handler):
            await handler.server_event(Retiring(closes_idle))
        elif closes_idle and handler.client in handler.transports:
            handler.close_connection(handler.client)  # It has not said anything that means something.

    def _end_requests(self) -> None:
        calls = [call for handler in self._listener.connections.values() for call in _calls(handler)]
        log.warning("%d requests are ended, they did not finish in time", len(calls))
        for call in calls:
            self._interrupts.interrupt(call, Interruption(Cause.CUT, RETIRED))


def _http_layers(handler: ConnectionHandler) -> list[HttpLayer]:
    return [layer for layer in handler.layer.context.layers if isinstance(layer, HttpLayer)]


def _calls(handler: ConnectionHandler) -> list[Call]:
    streams = [stream for layer in _http_layers(handler) for stream in layer.streams.values()]
    return [stream.call for stream in streams if isinstance(stream, ProxyStream)]
