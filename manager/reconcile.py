"""Proves that Redis says what SQL says, and mends it where it does not. SQL is right, except about what is counted.

Everything is looked at in batches, so memory stays bounded however much there is. What differs is looked at once more
a moment later, since a change may have been on its way.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import Any
from uuid import UUID

import redis
import sqlalchemy as sa

from manager import comparisons, db, publications
from manager.comparisons import Difference, raw
from manager.counter_comparisons import of_counters
from manager.counters import Counters
from manager.db import Sessions
from manager.mending import Mending
from manager.publisher import Publisher, PublishError
from manager.reconcile_report import Report
from manager.tables import Project, Token
from shared import redis_schema
from shared.models import Scope

BATCH = 1000
# How long all second looks together may wait for what is on its way, and each of them, in seconds.
PATIENCE, PAUSE = 2.0, 0.25
# What unattended mending removes at most, of what was looked at, unless it is less than so many.
REMOVED_SHARE, REMOVED_COUNT = 0.1, 100
_REMOVED = (".orphan", ".leftover")


class Reconciler:
    """Compares, and mends if told to. Raises RedisError, SQLAlchemyError and PublishError as they come."""

    def __init__(
        self,
        client: "redis.Redis",
        sessions: Sessions,
        pause: float = PAUSE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._redis = client
        self._sessions = sessions
        self._publisher = Publisher(client, sessions)
        self._counters = Counters(client, sessions)
        self._mending = Mending(client, sessions, self._publisher)
        self._pause = pause
        self._sleep = sleep

    def check(self) -> Report:
        """Compare everything; nothing is changed."""
        return self._run(is_mending=False)

    def mend(self, *, is_adopting: bool = False) -> Report:
        """Compare everything and put right what differs; the report tells what did.

        is_adopting: what belongs to another database is made to say what this one says.
        """
        if is_adopting:
            self._publisher.republish_all(is_adopting=True)
        return self._run(is_mending=True)

    def mend_unattended(self) -> Report:
        """Do the same, but remove nothing if it were more than REMOVED_SHARE and REMOVED_COUNT: that is for a person
        to decide, since it is rather SQL that lacks something then.
        """
        found = self.check()
        if found.is_equal:
            return found
        strange = sum(found.counts[name] for name in found.counts if name.endswith(_REMOVED))
        looked_at = sum(found.compared[name] for name in ("keys", "counters", "breakers"))
        is_too_much = strange > max(REMOVED_COUNT, looked_at * REMOVED_SHARE)
        mended = self._run(is_mending=True, is_removing=not is_too_much)
        mended.withheld = strange if is_too_much else 0
        return mended

    def _run(self, is_mending: bool, is_removing: bool = True) -> Report:
        report, began = Report(), time.monotonic()
        self._patience = PATIENCE
        if is_mending:
            self._publisher.epoch.check_owner()
        self._look([[None]], self._look_at_types, self._mending.types if is_mending else None, report)
        is_current = self._publisher.epoch.is_current()
        if not is_current:
            report.add([Difference("epoch", redis_schema.EPOCH, "missing")])
            is_current = is_mending and self._republish(is_last=False)
        for batches, look, mend in self._looks_at_rows(report):
            self._look(batches, look, mend if is_mending else None, report)
        for batches, look, mend in self._looks_at_redis(report):
            self._look(batches, look, mend if is_mending and is_removing else None, report)
        if is_mending and not is_current:
            self._republish(is_last=True)
        report.seconds = time.monotonic() - began
        return report

    def _republish(self, *, is_last: bool) -> bool:
        try:
            self._publisher.republish_all()
        except PublishError as error:
            # Something damaged is in the way; it is mended first.
            if is_last or "WRONGTYPE" not in str(error):
                raise
            return False
        return True

    def _look(
        self,
        batches: Iterable[Sequence[Any]],
        look: Callable[[Sequence[Any]], list[Difference]],
        mend: Callable[[list[Difference]], None] | None,
        report: Report,
    ) -> None:
        for batch in batches:
            differences = self._confirmed(look, batch)
            report.add(differences)
            if differences and mend:
                mend(differences)

    def _confirmed(self, look: Callable[[Sequence[Any]], list[Difference]], batch: Sequence[Any]) -> list[Difference]:
        first = look(batch)
        if not first:
            return []
        if self._patience > 0:
            self._patience -= self._pause
            self._sleep(self._pause)
        seen = set(first)
        return [difference for difference in look(batch) if difference in seen]

    def _looks_at_rows(self, report: Report) -> Iterator[Any]:
        yield self._ids(Project, report), self._look_at_projects, self._mending.rows
        yield self._ids(Token, report), self._look_at_tokens, self._mending.rows
        yield [[None]], self._look_at_the_rest, self._mending.the_rest

    def _looks_at_redis(self, report: Report) -> Iterator[Any]:
        names = self._redis.scan_iter(comparisons.RECORDS, count=BATCH)
        yield self._counted(names, "keys", report), self._look_at_keys, self._mending.keys
        used = self._fields(redis_schema.used_key(Scope.GLOBAL))
        yield self._counted(used, "counters", report), self._look_at_used, self._mending.used
        fields = self._fields(redis_schema.BREAKERS)
        yield self._counted(fields, "breakers", report), self._look_at_breakers, self._mending.breakers

    def _fields(self, key: str) -> Iterator[bytes]:
        try:
            for name, _ in self._redis.hscan_iter(key, count=BATCH):
                yield name
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):  # That is told already.
                raise

    def _counted(self, found: Iterable[Any], name: str, report: Report) -> Iterator[Sequence[Any]]:
        for batch in batched(found, BATCH):
            report.compared[name] += len(batch)
            yield batch

    def _ids(self, table: type[Project] | type[Token], report: Report) -> Iterator[Sequence[UUID]]:
        last: UUID | None = None
        while True:
            query = sa.select(table.id).order_by(table.id).limit(BATCH)
            if table is Token:
                query = query.where(Token.expires_at > _forgotten())
            with db.reading(self._sessions) as session:
                ids = session.scalars(query if last is None else query.where(table.id > last)).all()
            if not ids:
                return
            last = ids[-1]
            report.compared[f"{table.__tablename__}"] += len(ids)
            yield ids

    def _look_at_types(self, _: Sequence[None]) -> list[Difference]:
        return comparisons.of_types(self._redis)

    def _look_at_projects(self, ids: Sequence[UUID]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            rows = session.scalars(sa.select(Project).where(Project.id.in_(ids))).all()
        known = list(self._counters.known_of_rows(rows, datetime.now(UTC)))
        return comparisons.of_projects(self._redis, rows) + of_counters(self._redis, known)

    def _look_at_tokens(self, ids: Sequence[UUID]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            rows = session.scalars(sa.select(Token).where(Token.id.in_(ids), Token.expires_at > _forgotten())).all()
        now = datetime.now(UTC)
        known = list(self._counters.known_of_rows(rows, now))
        return comparisons.of_tokens(self._redis, rows, now) + of_counters(self._redis, known)

    def _look_at_the_rest(self, _: Sequence[None]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            limits, differences = publications.global_limits(session), comparisons.of_the_rest(self._redis, session)
        known = list(self._counters.known_of_all(limits, datetime.now(UTC)))
        return differences + of_counters(self._redis, known)

    def _look_at_keys(self, names: Sequence[bytes]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            strange = comparisons.of_keys(session, names, datetime.now(UTC))
        if not strange:
            return []
        with self._redis.pipeline(transaction=False) as pipeline:
            for difference in strange:
                pipeline.type(raw(difference.id))
                pipeline.hget(raw(difference.id), "purged")
            found = pipeline.execute(raise_on_error=False)
        # Gone meanwhile, or the memory of what was purged.
        kept = zip(strange, found[::2], found[1::2], strict=True)
        return [difference for difference, kind, purged in kept if kind != b"none" and not isinstance(purged, bytes)]

    def _look_at_used(self, fields: Sequence[bytes]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            leftover = comparisons.of_used(session, fields)
        return [each for each in leftover if self._redis.hexists(redis_schema.used_key(Scope.GLOBAL), raw(each.id))]

    def _look_at_breakers(self, fields: Sequence[bytes]) -> list[Difference]:
        with db.reading(self._sessions) as session:
            leftover = comparisons.of_breakers(session, fields)
        return [each for each in leftover if self._redis.hexists(redis_schema.BREAKERS, raw(each.id))]


def _forgotten() -> datetime:
    return datetime.now(UTC) - redis_schema.REMEMBER_EXPIRED
