"""Reads what workers tell of flows, from the oldest entry that is still there, and never takes anything away.

However Redis goes and comes back, the reader goes on where it was; if what it has read is gone, from the beginning.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import redis.asyncio
import redis.exceptions

from addons.endurance import endure
from addons.inspection.notices import Notices
from shared import flow_schema, logs, redis_schema
from shared.flow_schema import FLOWS, STRANGERS, FlowRecord, Phase

BEGINNING = "0-0"
# How long one look waits for news. It is well below what a call to Redis may take.
BLOCK_MS = 1_000
# How many entries one look brings; each holds many records.
ENTRIES = 16
PAUSE_SECONDS = 0.5

_FAULTS = (redis.exceptions.RedisError, OSError, TimeoutError)

log = logs.get("inspector")


class Feed:
    """One task for the life of the inspector. `take` gets records in order, `take_held` whole bodies of held ones."""

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        take: Callable[[Sequence[FlowRecord]], None],
        take_held: Callable[[FlowRecord], None],
        notices: Notices,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._client = client
        self._take, self._take_held = take, take_held
        self._notices = notices
        self._pause_seconds = pause_seconds
        self._cursors: dict[str, str] = {FLOWS: BEGINNING, STRANGERS: BEGINNING}
        self._is_away = False
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start reading."""
        self._task = asyncio.get_running_loop().create_task(self._keep_reading())

    async def done(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._client.aclose()

    async def _keep_reading(self) -> None:
        while True:
            await endure(self._read(), "feed")
            await asyncio.sleep(self._pause_seconds)

    async def _read(self) -> None:
        """Read until Redis is away."""
        try:
            await self._find_place()
            while True:
                await self.look()
        except _FAULTS as error:
            if not self._is_away:
                log.warning("feed_lost", reason=str(error))
                self._notices.add("warn", "Redis cannot be reached: nothing new is shown until it can.")
            self._is_away = True

    async def _find_place(self) -> None:
        """Begin again if Redis has lost what was read: ids of now might be lower than ours."""
        for stream, cursor in self._cursors.items():
            last = await self._client.xrevrange(stream, count=1)
            if cursor != BEGINNING and (not last or _order(cast(bytes, last[0][0])) < _order(cursor)):
                self._cursors[stream] = BEGINNING
        if self._is_away:
            self._notices.add("info", "Redis is there again.")
            self._is_away = False

    async def look(self, block_ms: int = BLOCK_MS) -> int:
        """Read what is new, or wait for it; returns how many entries that was. Raises RedisError, OSError."""
        entries = _entries(await self._client.xread(cast(Any, self._cursors), count=ENTRIES, block=block_ms))
        for stream, entry_id, fields in entries:
            self._cursors[stream.decode()] = entry_id.decode()
            records = _records(fields)
            self._take(records)
            for request_id in _held(records):
                await self._read_held(request_id)
            await asyncio.sleep(0)  # Whoever looks at the page is served between any two entries.
        return len(entries)

    async def _read_held(self, request_id: str) -> None:
        told = await self._client.get(flow_schema.held_key(request_id))
        if told is not None:
            try:
                self._take_held(flow_schema.decode_record(cast(bytes, told)))
            except redis_schema.ContractError as error:
                log.warning("held_request_unreadable", request_id=request_id, reason=str(error))


def _records(fields: dict[bytes, bytes]) -> list[FlowRecord]:
    try:
        return flow_schema.decode_batch(fields)
    except redis_schema.ContractError as error:  # Of a worker of another release.
        log.warning("flows_unreadable", reason=str(error))
        return []


def _held(records: Iterable[FlowRecord]) -> list[str]:
    """Return the ids of those that are held, as far as these records tell."""
    last = {record.request_id: record.phase for record in records}
    return [request_id for request_id, phase in last.items() if phase is Phase.HELD]


def _entries(answer: Any) -> list[tuple[bytes, bytes, dict[bytes, bytes]]]:
    """Return of each entry its stream, its id and its fields."""
    # The client answers a list under RESP2 and a mapping under RESP3.
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(name, *entry) for name, batches in answer.items() for batch in batches for entry in batch]
    return [(name, *entry) for name, entries in answer for entry in entries]


def _order(entry_id: bytes | str) -> tuple[int, ...]:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    return tuple(map(int, text.split("-")))
