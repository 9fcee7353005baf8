"""Closes what connection handlers leave behind: mitmproxy cancels a task while it connects, and forgets its socket."""

import asyncio

from mitmproxy.proxy.server import ConnectionHandler

# How long after its client has gone a handler may take to end, in seconds.
GRACE_SECONDS = 2.0


class Sweeper:
    """Knows the handlers whose clients have gone."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._planned: dict[ConnectionHandler, asyncio.TimerHandle] = {}

    def plan(self, handler: ConnectionHandler) -> None:
        """Close what this handler still has, when it has had time to end by itself."""
        if handler not in self._planned:
            loop = asyncio.get_running_loop()
            self._planned[handler] = loop.call_later(self._grace_seconds, self._sweep, handler)

    def finish(self) -> None:
        """Close it now: nobody will be here later."""
        for handler in list(self._planned):
            self._sweep(handler)

    def _sweep(self, handler: ConnectionHandler) -> None:
        self._planned.pop(handler).cancel()
        for transport in handler.transports.values():
            if transport.writer is not None:
                transport.writer.close()
