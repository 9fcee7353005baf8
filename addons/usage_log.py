"""Settles requests in Redis off the request path: in batches, in order, kept while Redis is away."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from addons.holds import Holds
from addons.settlement import Settlement
from addons.store import StoreUnavailable
from shared import logs

BATCH = 500
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
FLUSH_SECONDS = 5.0

log = logs.get("usage_log")


class Sink(Protocol):
    """Where settlements go."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle in order; raises StoreUnavailable."""


class UsageLog:
    """A queue with one writer. What is in it leaves only when the sink has it; at exit, what is left goes to the log.

    `note_waiting` is told how many wait, whenever that changes.
    """

    def __init__(
        self, sink: Sink, holds: Holds, note_waiting: Callable[[int], None], flush_seconds: float = FLUSH_SECONDS
    ) -> None:
        self._sink = sink
        self._holds = holds
        self._note_waiting = note_waiting
        self._flush_seconds = flush_seconds
        self._waiting: list[Settlement] = []
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def append(self, settlement: Settlement) -> None:
        """Take one; returns at once. The queue is bounded by the requests in flight when Redis went away."""
        self._waiting.append(settlement)
        self._note_waiting(len(self._waiting))
        self._arrived.set()

    def running(self) -> None:
        """Start writing."""
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def done(self) -> None:
        """Write what is left, for at most `flush_seconds`; log what could not be written, so that it is not lost."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        try:
            async with asyncio.timeout(self._flush_seconds):
                await self._drain()
        except TimeoutError:
            for settlement in self._waiting:
                log.error("usage_event_not_delivered", usage_event=msgspec.to_builtins(settlement.event))

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._drain()

    async def _drain(self) -> None:
        pause = 0.0
        while self._waiting:
            batch = self._waiting[:BATCH]
            try:
                await self._sink.settle(batch)
            except StoreUnavailable as error:
                if not pause:
                    log.warning("usage_waits_for_redis", reason=str(error))
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                await asyncio.sleep(pause)
            else:
                del self._waiting[: len(batch)]
                for settlement in batch:
                    self._holds.settled(settlement.event.request_id)
                self._note_waiting(len(self._waiting))
                pause = 0.0
