"""Closed-loop load of our own, for what wrk does not do: a new connection for each request, and a look at each answer.

A caller sends its next request when it has its answer; what breaks off counts as status 0, and the caller goes on.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import uvloop

from tests.bench.endpoint import Endpoint

# A caller that cannot connect tries again after this.
PAUSE_SECONDS = 0.02
BROKEN = 0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """When an answer was whole, on the machine's clock; its status, 0 if it broke off; ms since it was asked for."""

    at: float
    status: int
    ms: float


def status_of(start: bytes) -> int:
    """Return the status of an answer that begins like this, BROKEN if it is none."""
    return int(start[9:12]) if start.startswith(b"HTTP/1.") and start[9:12].isdigit() else BROKEN


def is_whole(answer: bytes) -> bool:
    """Tell whether an HTTP/1 answer has come to its end."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    if length := _LENGTH.search(answer, 0, end + 2):
        return len(answer) - end - 4 >= int(length[1])
    return _CHUNKED.search(answer, 0, end + 2) is not None and answer.endswith(b"0\r\n\r\n")


class Exchange(asyncio.Protocol):
    """One connection of a caller. `on_answer` gets the answer, or what broke off."""

    def __init__(self, on_answer: Callable[[bytes], None]) -> None:
        self._on_answer = on_answer
        self._received = b""
        self._is_waiting = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self._received, self._is_waiting = b"", True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if is_whole(self._received):
            self._end(self._received)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._end(b"")

    def _end(self, answer: bytes) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._on_answer(answer)


class Caller:
    """Asks again and again until it is told to stop."""

    def __init__(self, endpoint: Endpoint, request: bytes, reconnects: bool, answers: list[Answer]) -> None:
        self._endpoint, self._request, self._reconnects, self._answers = endpoint, request, reconnects, answers
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Future[bytes]

    async def run(self, until: float) -> None:
        """Call until a time of the loop's clock."""
        exchange: Exchange | None = None
        while self._loop.time() < until:
            began = time.monotonic()
            self._came = self._loop.create_future()
            exchange = await self._ask(exchange)
            answer = await self._came
            now = time.monotonic()
            self._answers.append(Answer(now, status_of(answer), (now - began) * 1000))
            if exchange is None:
                await asyncio.sleep(PAUSE_SECONDS)
            elif self._reconnects and exchange.transport is not None:
                exchange.transport.close()
        if exchange is not None and exchange.transport is not None:
            exchange.transport.close()

    async def _ask(self, exchange: Exchange | None) -> Exchange | None:
        if exchange is None or exchange.transport is None or exchange.transport.is_closing():
            try:
                host, port = self._endpoint.host, self._endpoint.port
                _, exchange = await self._loop.create_connection(lambda: Exchange(self._come), host, port)
            except OSError:
                self._come(b"")
                return None
        if exchange.transport is None:
            self._come(b"")
            return None
        exchange.ask(self._request)
        return exchange

    def _come(self, answer: bytes) -> None:
        if not self._came.done():
            self._came.set_result(answer)


type Plan = tuple[tuple[float, Callable[[], object]], ...]


def run(
    endpoint: Endpoint, body: bytes, callers: int, seconds: float, reconnects: bool = False, meanwhile: Plan = ()
) -> list[Answer]:
    """Let so many callers call for so long; `meanwhile` is done at its times, in seconds from the start."""
    found: list[Answer] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(endpoint, body, callers, seconds, reconnects, meanwhile, found))
    return found


async def _run(
    endpoint: Endpoint, body: bytes, callers: int, seconds: float, reconnects: bool, plan: Plan, found: list[Answer]
) -> None:
    loop, request = asyncio.get_running_loop(), endpoint.request(body)
    for delay, action in plan:
        loop.call_later(delay, action)
    until = loop.time() + seconds
    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*(Caller(endpoint, request, reconnects, found).run(until) for _ in range(callers)))


def statuses(answers: list[Answer]) -> Counter[int]:
    """Count answers by status."""
    return Counter(answer.status for answer in answers)
