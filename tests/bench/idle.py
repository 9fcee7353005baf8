"""Connections that have had an answer and now say nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from tests.bench.endpoint import Endpoint
from tests.bench.exchanges import is_whole, status_of

# So many ask at the same time.
_AT_ONCE = 64


class _Idle(asyncio.Protocol):
    """Asks once, and stays."""

    def __init__(self, request: bytes, answered: asyncio.Future[int]) -> None:
        self._request, self._answered, self._received = request, answered, b""
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if is_whole(self._received) and not self._answered.done():
            self._answered.set_result(status_of(self._received))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if not self._answered.done():
            self._answered.set_result(0)


class Connections:
    """What has been opened; `refused` counts those that had no answer of 200."""

    def __init__(self) -> None:
        self._all: list[_Idle] = []
        self.refused = 0

    @property
    def open(self) -> int:
        """How many are open now."""
        return sum(each.is_open for each in self._all)

    async def add(self, endpoint: Endpoint, request: bytes) -> None:
        """Open one, and wait for its answer."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[int] = loop.create_future()
        try:
            _, made = await loop.create_connection(lambda: _Idle(request, answered), endpoint.host, endpoint.port)
        except OSError:
            self.refused += 1
            return
        self._all.append(made)
        self.refused += await answered != 200

    def close(self) -> None:
        """Close all, at once and without the farewell of TCP that would keep their ports for a while."""
        for each in self._all:
            if each.is_open:
                each.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                each.transport.abort()


_NO_LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"


@asynccontextmanager
async def opened(endpoint: Endpoint, body: bytes, count: int) -> AsyncIterator[Connections]:
    """Open so many connections, each with one answer, and keep them for the length of a block."""
    connections, request = Connections(), endpoint.request(body)
    numbers = iter(range(count))

    async def open_in_turn() -> None:
        for _ in numbers:
            await connections.add(endpoint, request)

    try:
        await asyncio.gather(*(open_in_turn() for _ in range(_AT_ONCE)))
        yield connections
    finally:
        connections.close()
        await asyncio.sleep(0)
