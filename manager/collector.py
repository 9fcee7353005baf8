"""Redis stream → SQL: every usage event is recorded exactly once, whatever is killed when.

What is told of projects that SQL does not know, since they have been purged, is dropped.
An event is acknowledged and deleted only after its transaction has been committed, so a collector that dies in
between leaves it to be delivered again, and the request id keeps it from being counted twice.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db, rollup
from manager.db import Sessions
from manager.epoch import Epoch
from manager.prices import PriceBook, table
from manager.tables import Project
from shared import logs, redis_schema
from shared.prices import PriceTable

BATCH = 500
# So many projects are named in the log.
NAMED = 10
# Entries that another collector took and has not finished for this long are taken over.
ABANDONED_MS = 10_000

Entry = tuple[bytes, dict[bytes, bytes]]
_UNREADABLE = (redis_schema.ContractError, ValueError)
log = logs.get("collector")


def lag(client: "redis.Redis") -> int:
    """Return how many events have not been recorded. Raises RedisError."""
    return client.xlen(redis_schema.USAGE_STREAM)


class Collector:
    """One consumer of the usage stream's group."""

    def __init__(self, client: "redis.Redis", sessions: Sessions, name: str | None = None) -> None:
        self._redis = client
        self._sessions = sessions
        self._epoch = Epoch(client, sessions)
        self._prices = PriceBook()
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"

    def collect_once(self, block_ms: int) -> int:
        """Record the next batch, waiting up to `block_ms` for one; return how many requests were new.

        Raises RedisError and SQLAlchemyError as they come; nothing is lost by it, call again later.
        """
        try:
            entries = self._abandoned() or self._new(block_ms)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_group()
            return 0
        return self._record(entries)

    def _abandoned(self) -> list[Entry]:
        claimed = self._redis.xautoclaim(
            redis_schema.USAGE_STREAM, redis_schema.USAGE_GROUP, self._name, ABANDONED_MS, count=BATCH
        )
        return [entry for entry in cast(Any, claimed)[1] if entry[1] is not None]

    def _new(self, block_ms: int) -> list[Entry]:
        streams: Any = {redis_schema.USAGE_STREAM: ">"}
        answer = self._redis.xreadgroup(
            redis_schema.USAGE_GROUP, self._name, streams, count=BATCH, block=max(block_ms, 1)
        )
        return _entries(answer)

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(redis_schema.USAGE_STREAM, redis_schema.USAGE_GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _record(self, entries: list[Entry]) -> int:
        if not entries:
            return 0
        with db.reading(self._sessions) as session:
            prices = self._prices.current(session)
        rows = [row for entry in entries if (row := self._row(entry, prices)) is not None]
        new, unknown = _store(self._sessions, rows)
        if unknown:
            self._epoch.check_owner()  # They may be known to the database that this Redis belongs to.
            log.warning("usage_of_unknown_projects_dropped", events=unknown.total(), projects=sorted(unknown)[:NAMED])
        self._finish(entry_id for entry_id, _ in entries)
        return new

    def _row(self, entry: Entry, prices: PriceTable) -> dict[str, Any] | None:
        try:
            return _row(entry, prices)
        except _UNREADABLE as error:
            log.error("dead_letter", entry=entry[0].decode(), reason=str(error))
            fields: Any = {**entry[1], b"reason": str(error).encode()[:500], b"entry": entry[0]}
            self._redis.xadd(redis_schema.USAGE_DEAD_LETTERS, fields, maxlen=redis_schema.DEAD_LETTERS_KEPT)
            return None

    def _finish(self, entry_ids: Iterable[bytes]) -> None:
        done = list(entry_ids)
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xack(redis_schema.USAGE_STREAM, redis_schema.USAGE_GROUP, *done)
            pipeline.xdel(redis_schema.USAGE_STREAM, *done)
            pipeline.execute()


def record_unread(client: "redis.Redis", sessions: Sessions) -> int:
    """Record every event that is in the stream, also what a collector has taken; return how many were new.

    Nothing is acknowledged and nothing deleted: that remains to the collectors, who find it recorded, and so does what
    is unreadable. Raises RedisError and SQLAlchemyError as they come.
    """
    with db.reading(sessions) as session:
        prices = table(session)
    new, after = 0, "-"
    while entries := cast(list[Entry], client.xrange(redis_schema.USAGE_STREAM, after, "+", count=BATCH)):
        new += _store(sessions, [row for entry in entries if (row := _readable(entry, prices)) is not None])[0]
        after = f"({entries[-1][0].decode()}"
    return new


def _store(sessions: Sessions, rows: list[dict[str, Any]]) -> tuple[int, Counter[str]]:
    """Record rows; return how many were new, and how many were left out of each project that SQL does not know."""

    def store(session: Session) -> tuple[int, Counter[str]]:
        asked = sa.select(Project.id).where(Project.id.in_({row["project_id"] for row in rows})).order_by(Project.id)
        # Whoever purges a project waits until this is written, and then removes it, too.
        known = set(session.scalars(asked.with_for_update(read=True, key_share=True)))
        unknown = Counter(str(row["project_id"]) for row in rows if row["project_id"] not in known)
        return rollup.record(session, [row for row in rows if row["project_id"] in known]), unknown

    # What was recorded before is not recorded again, so it may be repeated.
    return db.transact(sessions, store, is_repeatable=True)


def _readable(entry: Entry, prices: PriceTable) -> dict[str, Any] | None:
    try:
        return _row(entry, prices)
    except _UNREADABLE:
        return None


def _row(entry: Entry, prices: PriceTable) -> dict[str, Any]:
    return rollup.request_row(redis_schema.decode_event(entry[1]), prices)


def _entries(answer: Any) -> list[Entry]:
    # The client answers a list under RESP2 and a mapping under RESP3.
    if not answer:
        return []
    if isinstance(answer, dict):
        [batches] = answer.values()
        return [entry for batch in batches for entry in batch]
    [(_, entries)] = answer
    return cast(list[Entry], entries)
