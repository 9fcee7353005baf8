"""Settles requests in Redis off the request path: in batches, in order, kept while Redis is away."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

import msgspec

from addons.endurance import endure
from addons.holds import Holds
from addons.settlement import Settlement
from addons.store import StoreUnavailable
from shared import logs
from shared.models import Outcome

BATCH = 500
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
FLUSH_SECONDS = 5.0
# So many settlements are kept, of about 2 kB each.
MOST_WAITING = 100_000

log = logs.get("usage_log")


class Sink(Protocol):
    """Where settlements go."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle in order; raises StoreUnavailable."""


class UsageLog:
    """A queue with one writer. What is in it leaves when the sink has it; what it cannot keep goes to the log.

    Each request stands in it once, also if it is found lost again and again. It keeps `most_waiting` of them: beyond
    that the oldest go to the log, as at exit those do that are left. `note_waiting` is told how many wait, whenever
    that changes.
    """

    def __init__(
        self,
        sink: Sink,
        holds: Holds,
        note_waiting: Callable[[int], None],
        flush_seconds: float = FLUSH_SECONDS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._sink = sink
        self._holds = holds
        self._note_waiting = note_waiting
        self._flush_seconds = flush_seconds
        self._most_waiting = most_waiting
        self._waiting: dict[str, Settlement] = {}
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def append(self, settlement: Settlement) -> None:
        """Take one; returns at once. A request that is lost is not settled in the place of one that has ended."""
        request_id = settlement.event.request_id
        if settlement.event.outcome is Outcome.LOST and request_id in self._waiting:
            return
        self._waiting[request_id] = settlement
        if len(self._waiting) > self._most_waiting:
            self._give_up(next(iter(self._waiting.values())))
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
            pass
        finally:
            for settlement in list(self._waiting.values()):
                self._give_up(settlement)

    def _give_up(self, settlement: Settlement) -> None:
        log.error("usage_event_not_delivered", usage_event=msgspec.to_builtins(settlement.event))
        self._forget(settlement)

    def _forget(self, settlement: Settlement) -> None:
        request_id = settlement.event.request_id
        if self._waiting.get(request_id) is settlement:  # Else another one has taken its place meanwhile.
            del self._waiting[request_id]
            self._holds.settled(request_id)

    async def _write(self) -> None:
        while True:
            await endure(self._write_what_comes(), "usage_log")

    async def _write_what_comes(self) -> None:
        if not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        await self._drain()

    async def _drain(self) -> None:
        pause = 0.0
        while self._waiting:
            batch = list(islice(self._waiting.values(), BATCH))
            try:
                await self._sink.settle(batch)
            except StoreUnavailable as error:
                if not pause:
                    log.warning("usage_waits_for_redis", reason=str(error))
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                await asyncio.sleep(pause)
            else:
                for settlement in batch:
                    self._forget(settlement)
                self._note_waiting(len(self._waiting))
                pause = 0.0
