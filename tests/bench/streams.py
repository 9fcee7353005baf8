"""Many streams at the same time: when the first byte of each came, how long each chunk took, how many came.

A caller whose stream has ended opens the next one on the same connection. Callers begin at different times, so that
streams open and end all the while.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from tests.bench import answers
from tests.bench.endpoint import Endpoint
from tests.bench.exchanges import status_of

_DONE = b"[DONE]"
_END = b"0\r\n\r\n"
PAUSE_SECONDS = 0.1


@dataclass
class Seen:
    """What came while it was looked at: ms to first bytes, ms of each chunk on its way, and reads that brought any.

    `begun` are streams that have had their first byte and `errors` those that broke off or were refused, at any time.
    """

    first_byte_ms: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    reads: int = 0
    begun: int = 0
    errors: int = 0
    seconds: float = 0.0
    is_looking: bool = False


class Listener(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, requests: Iterator[bytes], seen: Seen) -> None:
        self._requests, self._seen = requests, seen
        self.ended = asyncio.Event()
        self._asked = 0.0
        self._rest = b""
        self._is_first = self._is_done = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        """Begin a stream."""
        assert self.transport is not None
        self._is_first, self._is_done, self._rest = True, False, b""
        self._asked = time.monotonic()
        self.transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._is_first:
            self._begin(data, now)
        # A stamp may be cut in two where one read ends.
        data = self._rest + data
        self._rest = data[data.rfind(b"\n") + 1 :]
        if self._seen.is_looking:
            self._note(answers.stamps(data), now)
        self._is_done = self._is_done or _DONE in data
        if self._is_done and data.endswith(_END):
            self.ask()

    def _begin(self, data: bytes, now: int) -> None:
        self._is_first = False
        if status_of(data) != 200:
            self.hang_up()
            return
        self._seen.begun += 1
        if self._seen.is_looking:
            self._seen.first_byte_ms.append(now / 1e6 - self._asked * 1e3)

    def _note(self, stamps: list[int], now: int) -> None:
        if stamps:
            self._seen.reads += 1
            self._seen.delays_ms += [(now - stamp) / 1e6 for stamp in stamps]

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.ended.set()

    def hang_up(self) -> None:
        """Close the connection."""
        if self.transport is not None:
            self.transport.abort()


@dataclass(frozen=True)
class Load:
    """So many streams at the same time, each of `chunks` chunks, `per_second` of them each second."""

    streams: int
    chunks: int
    per_second: int

    @property
    def stream_seconds(self) -> float:
        """How long one takes, if nothing holds it up."""
        return self.chunks / self.per_second

    def first_length(self, number: int) -> int:
        """How many chunks the first stream of a caller has: all differ, so that streams end evenly over time."""
        return max(1, round(self.chunks * (number + 1) / self.streams))


class Streams:
    """Keeps streams open within an `async with` block."""

    def __init__(self, endpoint: Endpoint, load: Load) -> None:
        self._endpoint, self._load = endpoint, load
        self._callers: list[asyncio.Task[None]] = []
        self._is_over = False
        self.seen = Seen()

    async def __aenter__(self) -> "Streams":
        self._callers = [asyncio.create_task(self._call(number)) for number in range(self._load.streams)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)

    async def begin(self, patience: float) -> None:
        """Wait until as many streams have begun as there are to be, but no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.seen.begun < self._load.streams:
                    await asyncio.sleep(PAUSE_SECONDS)

    async def look(self, seconds: float) -> Seen:
        """Look for so long at what comes, and return that alone."""
        self.seen.first_byte_ms, self.seen.delays_ms, self.seen.reads = [], [], 0
        began, self.seen.is_looking = time.monotonic(), True
        await asyncio.sleep(seconds)
        self.seen.is_looking, self.seen.seconds = False, time.monotonic() - began
        return self.seen

    async def _call(self, number: int) -> None:
        load, requests = self._load, self._requests(number)
        await asyncio.sleep(number / load.streams * min(1.0, load.stream_seconds))
        while True:
            listener = Listener(requests, self.seen)
            try:
                await self._connect(listener)
                await listener.ended.wait()
            finally:
                listener.hang_up()
            self.seen.errors += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def _requests(self, number: int) -> Iterator[bytes]:
        lengths = itertools.chain([self._load.first_length(number)], itertools.repeat(self._load.chunks))
        for length in lengths:
            yield self._endpoint.request(answers.request_body(answers.stream_model(length, self._load.per_second)))

    async def _connect(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: listener, self._endpoint.host, self._endpoint.port)
                return
            except OSError:
                self.seen.errors += 1
                await asyncio.sleep(PAUSE_SECONDS)


def run[T](steps: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a new uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(steps)
