"""Finds requests of whose end nobody has told: their worker died, or had to drop its last record.

Asked about are only those that have been quiet for a while. If one is told of after all, it is shown as it is told.
"""

import time
from collections.abc import Mapping, Sequence
from typing import cast

import redis.asyncio
import redis.exceptions

from addons.endurance import Repeating
from addons.inspection.book import Book, Known
from addons.inspection.flows import UNTOLD
from shared import live_schema, logs, redis_schema
from shared.live_schema import Snapshot
from shared.models import Outcome

QUIET_SECONDS = 30.0
PAUSE_SECONDS = 10.0
# Workers say that they are there every few seconds; after a restart of Redis it may take them a moment.
_PATIENCE_MS = 2 * redis_schema.WORKER_MS

_FAULTS = (redis.exceptions.RedisError, OSError, TimeoutError)

log = logs.get("inspector")


class Untold:
    """One task for the life of the inspector."""

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        book: Book,
        quiet_seconds: float = QUIET_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._client = client
        self._book = book
        self._quiet_seconds = quiet_seconds
        self._suspected: set[str] = set()
        self._looking = Repeating(self.look, "untold", pause_seconds)

    def start(self) -> None:
        """Start looking."""
        self._looking.start()

    async def stop(self) -> None:
        """Stop looking."""
        await self._looking.stop()

    async def look(self) -> None:
        """Show as ended whatever two looks in a row have found to be so."""
        quiet = self._book.quiet(self._quiet_seconds)
        try:
            found = await self._ended(quiet) if quiet else {}
        except _FAULTS:
            return  # Whoever reads the feed tells that Redis is away.
        suspected, self._suspected = self._suspected, set(found)
        for known in quiet:
            request_id = known.record.request_id
            if request_id in suspected and request_id in found:
                log.info("end_not_told", request_id=request_id, outcome=found[request_id])
                self._book.ended_untold(known, found[request_id])

    async def _ended(self, quiet: Sequence[Known]) -> dict[str, str]:
        names = list({known.record.worker for known in quiet})
        is_there = dict(zip(names, await self._presence(names), strict=True))
        # Those who are there tell what they have for as long as somebody watches.
        await self._client.set(live_schema.WATCHED, 1, px=live_schema.WATCHED_MS)
        told = cast(list[bytes | None], await self._client.mget(map(live_schema.snapshot_key, names)))
        snapshots = {name: _read(each) for name, each in zip(names, told, strict=True)}
        found = {known.record.request_id: _end(known, is_there, snapshots) for known in quiet}
        return {request_id: outcome for request_id, outcome in found.items() if outcome is not None}

    async def _presence(self, names: Sequence[str]) -> list[bool]:
        scores = await self._client.zmscore(redis_schema.WORKERS, list(names))
        oldest = time.time() * 1000 - _PATIENCE_MS
        return [score is not None and score > oldest for score in scores]


def _end(known: Known, is_there: Mapping[str, bool], snapshots: Mapping[str, Snapshot | None]) -> str | None:
    """Return how a request has ended; None: it may be running."""
    if not is_there[known.record.worker]:
        return Outcome.LOST
    snapshot = snapshots[known.record.worker]
    if snapshot is None or sum(snapshot.counts.values()) > len(snapshot.requests):
        return None  # Nobody has told of all of them.
    is_running = any(request.request_id == known.record.request_id for request in snapshot.requests)
    return None if is_running else UNTOLD


def _read(told: bytes | None) -> Snapshot | None:
    try:
        return None if told is None else live_schema.decode_snapshot(told)
    except redis_schema.ContractError:
        return None  # Of a worker of another release.
