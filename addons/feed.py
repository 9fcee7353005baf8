"""The way of records to the inspector: bounded queues with a writer each. Who is told nothing loses nothing but a view.

Under pressure it is records that go, those that come while a queue is full, and they are counted.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from addons.endurance import endure
from addons.store import StoreUnavailable
from shared import logs
from shared.flow_schema import join_records

BATCH_BYTES = 256 << 10
# So much is kept while Redis is away or slow.
MOST_BYTES = 8 << 20
MOST_RECORDS = 20_000
# Requests that nobody was let in with have a way of their own: a queue of one part in so many, and in Redis as well.
STRANGERS_PART = 8
STRANGERS_PART_IN_REDIS, LEAST_IN_REDIS = 16, 1 << 20
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
FLUSH_SECONDS = 1.0

log = logs.get("feed")


class Sink(Protocol):
    """Where records go."""

    async def feed(self, batch: bytes, most_bytes: int, is_of_strangers: bool = False) -> bool:
        """Append a batch; False if it is too large. Raises StoreUnavailable."""


class Counts(Protocol):
    """Who counts records."""

    def flows_told(self, count: int) -> None:
        """So many are in the feed."""

    def flows_dropped(self, reason: str, count: int) -> None:
        """So many are lost."""


@dataclass(frozen=True, slots=True)
class _Batch:
    content: bytes
    count: int


class Feed:
    """Takes encoded records and sends them in batches; `most_bytes` is what their stream in Redis may have."""

    def __init__(
        self,
        sink: Sink,
        counts: Counts,
        most_bytes: int,
        most_kept: int = MOST_BYTES,
        most_records: int = MOST_RECORDS,
        flush_seconds: float = FLUSH_SECONDS,
        is_of_strangers: bool = False,
    ) -> None:
        self._sink = sink
        self._counts = counts
        self._most_bytes = most_bytes
        self._most_kept = most_kept
        self._most_records = most_records
        self._is_of_strangers = is_of_strangers
        self._flush_seconds = flush_seconds
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._batches: deque[_Batch] = deque()
        self._bytes = 0
        self._records = 0
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def has_room(self) -> bool:
        """Tell whether another record is taken; if not, there is no need to make it."""
        return self._bytes < self._most_kept and self._records < self._most_records

    def append(self, record: bytes) -> None:
        """Take one."""
        if self._open_bytes + len(record) > BATCH_BYTES:
            self.close()
        self._open.append(record)
        self._open_bytes += len(record)
        self._bytes += len(record)
        self._records += 1

    def close(self) -> None:
        """Let what has been taken go out, without waiting for more."""
        if self._open:
            content = join_records(self._open)
            self._batches.append(_Batch(content, len(self._open)))
            self._bytes += len(content) - self._open_bytes
            self._open, self._open_bytes = [], 0
            self._arrived.set()

    def running(self) -> None:
        """Start sending."""
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def done(self) -> None:
        """Send what is left if that is quick."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self.close()
        try:
            async with asyncio.timeout(self._flush_seconds):
                await self._drain()
        except TimeoutError:
            return

    async def _write(self) -> None:
        while True:
            await endure(self._write_what_comes(), "feed")

    async def _write_what_comes(self) -> None:
        if not self._batches:
            self._arrived.clear()
            await self._arrived.wait()
        await self._drain()

    async def _drain(self) -> None:
        pause = 0.0
        while self._batches:
            try:
                await self._send(self._batches[0])
                pause = 0.0
            except StoreUnavailable as error:
                if not pause:
                    log.warning("flows_wait_for_redis", reason=str(error))
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                await asyncio.sleep(pause)

    async def _send(self, batch: _Batch) -> None:
        is_taken = await self._sink.feed(batch.content, self._most_bytes, self._is_of_strangers)
        self._batches.popleft()
        self._bytes -= len(batch.content)
        self._records -= batch.count
        if is_taken:
            self._counts.flows_told(batch.count)
        else:
            self._counts.flows_dropped("too_large", batch.count)


class Feeds:
    """Both ways: that of whoever was let in, and that of strangers. `most_bytes` is what all has in Redis."""

    def __init__(self, sink: Sink, counts: Counts, most_bytes: int) -> None:
        theirs = max(most_bytes // STRANGERS_PART_IN_REDIS, LEAST_IN_REDIS)
        most_kept, most_records = MOST_BYTES // STRANGERS_PART, MOST_RECORDS // STRANGERS_PART
        self._admitted = Feed(sink, counts, max(most_bytes - theirs, LEAST_IN_REDIS))
        self._strangers = Feed(sink, counts, theirs, most_kept, most_records, is_of_strangers=True)

    def _of(self, is_stranger: bool) -> Feed:
        return self._strangers if is_stranger else self._admitted

    def has_room(self, is_stranger: bool) -> bool:
        """Tell whether another record is taken; if not, there is no need to make it."""
        return self._of(is_stranger).has_room()

    def append(self, record: bytes, is_stranger: bool) -> None:
        """Take one."""
        self._of(is_stranger).append(record)

    def close(self) -> None:
        """Let what has been taken go out, without waiting for more."""
        self._admitted.close()
        self._strangers.close()

    def running(self) -> None:
        """Start sending."""
        self._admitted.running()
        self._strangers.running()

    async def done(self) -> None:
        """Send what is left if that is quick."""
        await asyncio.gather(self._admitted.done(), self._strangers.done())
