"""SQL → Redis: what the data plane may know, published after commit, and all of it again when Redis has lost it.

Redis never goes back to an older version (see shared/lua), so publishing may be repeated and may come late. Rows whose
`published_version` lags behind are published by the jobs process: a crash between commit and publish heals by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import redis
import sqlalchemy as sa
from redis.client import Pipeline
from sqlalchemy.orm import Session

from manager import db, flow_rules, prices, publications, tables, tombstones
from manager.collector import record_unread
from manager.counters import Counters
from manager.db import Sessions
from manager.epoch import Epoch
from manager.publications import Name
from manager.published import cors_origins, published_project, published_token
from manager.publishing import PublishError as PublishError
from manager.publishing import publishing
from shared import limits_schema, redis_schema
from shared.prices import encode_table
from shared.redis_schema import RulesChanged
from shared.rules_schema import RULES, encode_rules

BATCH = 1000


class Publisher:
    """Writes published records; every method that writes raises PublishError if Redis is away, or not ours."""

    def __init__(self, client: "redis.Redis", sessions: Sessions) -> None:
        self._redis = client
        self._sessions = sessions
        self.epoch = Epoch(client, sessions)
        self._publish_project = client.register_script(redis_schema.script("publish_project"))
        self._publish_token = client.register_script(redis_schema.script("publish_token"))
        self._purge_project = client.register_script(redis_schema.script("purge_project"))
        self._purge_token = client.register_script(redis_schema.script("purge_token"))
        self._counters = Counters(client, sessions)

    def publish_project(self, project_id: UUID) -> None:
        """Publish one project as it stands in SQL now."""
        self._publish(sa.select(tables.Project).where(tables.Project.id == project_id))

    def publish_token(self, token_id: UUID) -> None:
        """Publish one token as it stands in SQL now."""
        self._publish(sa.select(tables.Token).where(tables.Token.id == token_id))

    def publish_rows(self, table: type[tables.Project] | type[tables.Token], ids: Sequence[UUID]) -> int:
        """Publish projects or tokens as they stand in SQL now; return how many there are."""
        if table is tables.Project:
            return self._publish(sa.select(tables.Project).where(tables.Project.id.in_(ids)))
        return self._publish(sa.select(tables.Token).where(tables.Token.id.in_(ids)))

    def publish_tokens_of(self, project_id: UUID) -> None:
        """Publish those tokens of a project whose latest change has not been published."""
        self._publish(sa.select(tables.Token).where(tables.Token.project_id == project_id, _lags(tables.Token)))

    def publish_tombstones(self) -> int:
        """Have Redis forget what was purged, then forget the tombstones; return how many there were."""
        count = 0
        while True:
            with db.reading(self._sessions) as session:
                purged = tombstones.oldest(session, BATCH)
            if not purged:
                return count
            self.epoch.check_owner()
            with publishing(), self._redis.pipeline(transaction=False) as pipeline:
                for tombstone in purged:
                    self._add_tombstone(pipeline, tombstone)
                pipeline.execute()
            if any(tombstone.kind == tombstones.Kind.PROJECT for tombstone in purged):
                self.publish_origins()
            ids = [tombstone.id for tombstone in purged]
            db.transact(self._sessions, partial(tombstones.remove, ids=ids), is_repeatable=True)
            count += len(purged)

    def publish_limits(self) -> None:
        """Publish the limits of everything together as they stand in SQL now, and what they have counted."""
        with db.reading(self._sessions) as session:
            counted = publications.global_limits(session)
        self._replace(Name.LIMITS, redis_schema.GLOBAL_LIMITS, self._encoded_limits)
        with publishing():
            self._counters.of_all(counted, datetime.now(UTC))

    def publish_prices(self) -> None:
        """Publish all prices as they stand in SQL now."""
        self._replace(Name.PRICES, redis_schema.PRICES, lambda session: encode_table(prices.table(session)))

    def publish_rules(self) -> None:
        """Publish all rules as they stand in SQL now, and tell the workers that there are others."""
        version = self._replace(Name.RULES, RULES, lambda session: encode_rules(flow_rules.published(session)))
        with publishing():
            changed = redis_schema.encode_control(RulesChanged(version))
            self._redis.publish(redis_schema.CONTROL_CHANNEL, changed)

    def publish_pending(self) -> int:
        """Publish everything whose latest change has not been published; return how much there was."""
        count = self.publish_tombstones()
        count += self._publish(sa.select(tables.Project).where(_lags(tables.Project)))
        count += self._publish(sa.select(tables.Token).where(_lags(tables.Token)))
        with db.reading(self._sessions) as session:
            names = session.scalars(sa.select(tables.Publication.name).where(_lags(tables.Publication))).all()
        ways = {Name.LIMITS: self.publish_limits, Name.PRICES: self.publish_prices, Name.RULES: self.publish_rules}
        for name in names:
            ways[Name(name)]()
        return count + len(names)

    def republish_all(self, *, is_adopting: bool = False) -> None:
        """Publish everything, counters included, then declare Redis ready. Tokens that expired long ago are left out.

        What has been used is first taken out of the stream, whoever is at it already: limits count it. Raises
        WrongRedis if Redis belongs to another database, unless it is adopted.
        """
        forgotten = datetime.now(UTC) - redis_schema.REMEMBER_EXPIRED
        attempt = self.epoch.begin(is_adopting=is_adopting)
        with publishing():
            record_unread(self._redis, self._sessions)
        self.publish_tombstones()
        self.publish_prices()
        self.publish_limits()
        self.publish_rules()
        self._publish(sa.select(tables.Project))
        self._publish(sa.select(tables.Token).where(tables.Token.expires_at > forgotten))
        self.epoch.declare(attempt)

    def republish_if_lost(self) -> bool:
        """Republish all if Redis has forgotten it or was restarted, which may have cost its last second."""
        if self.epoch.is_current():
            return False
        self.republish_all()
        return True

    def is_ready(self) -> bool:
        """Tell whether Redis answers and everything has been published to it."""
        return self.epoch.is_ready()

    def _publish[Row: (tables.Project, tables.Token)](self, query: sa.Select[Row]) -> int:
        count = 0
        self.epoch.check_owner()
        for rows in self._batches(query):
            self._send(rows)
            with publishing():
                self._counters.of_rows(rows, datetime.now(UTC))
            if isinstance(rows[0], tables.Project):
                self.publish_origins()
            self._note_published(rows)
            count += len(rows)
        return count

    def _batches[Row: (tables.Project, tables.Token)](self, query: sa.Select[Row]) -> Iterator[Sequence[Row]]:
        # No transaction stays open while Redis is spoken to: it would hold up every writer.
        table = query.column_descriptions[0]["entity"]
        last: UUID | None = None
        while True:
            rest = query if last is None else query.where(table.id > last)
            with db.reading(self._sessions) as session:
                rows = session.scalars(rest.order_by(table.id).limit(BATCH)).all()
            if rows:
                last = rows[-1].id
                yield rows
            if len(rows) < BATCH:
                return

    def _send(self, rows: Iterable[tables.Project | tables.Token]) -> None:
        with publishing(), self._redis.pipeline(transaction=False) as pipeline:
            for row in rows:
                self._add(pipeline, row)
            pipeline.execute()

    def _replace(self, name: Name, key: str, encoded: Callable[[Session], bytes]) -> int:
        """Publish one of the things that there are once; note and return which version it was."""
        self.epoch.check_owner()
        versions = []

        def replace(pipeline: "Pipeline") -> None:
            # Read after the watch has begun, so that nobody writes what is older than what another one has written.
            with db.reading(self._sessions) as session:
                # The version first: a change in between is then published once more, and not forgotten.
                versions.append(publications.version(session, name))
                value = encoded(session)
            pipeline.multi()
            pipeline.set(key, value)

        with publishing():
            self._redis.transaction(replace, key)
        if versions[-1]:
            note = partial(publications.note_published, name=name, version=versions[-1])
            db.transact(self._sessions, note, is_repeatable=True)
        return versions[-1]

    def _encoded_limits(self, session: Session) -> bytes:
        return limits_schema.encode_limits(publications.global_limits(session))

    def publish_origins(self) -> None:
        """Publish which origins active projects allow: a preflight names no project, so it is held against all."""

        def replace(pipeline: "Pipeline") -> None:
            # Read after the watch has begun, so that nobody writes what is older than what another one has written.
            with db.reading(self._sessions) as session:
                origins = cors_origins(session)
            pipeline.multi()
            pipeline.delete(redis_schema.CORS_ORIGINS)
            # No origin is empty. The entry keeps the set there: a watch would not notice that nothing was made nothing.
            pipeline.sadd(redis_schema.CORS_ORIGINS, "", *origins)

        with publishing():
            self._redis.transaction(replace, redis_schema.CORS_ORIGINS)

    def _note_published(self, rows: Sequence[tables.Project] | Sequence[tables.Token]) -> None:
        noted = [{"row_id": row.id, "noted": row.version} for row in rows if row.published_version < row.version]

        def note(session: Session) -> None:
            session.connection().execute(_noting(type(rows[0])), noted)

        if noted:
            db.transact(self._sessions, note, is_repeatable=True)

    def _add(self, pipeline: "Pipeline", row: tables.Project | tables.Token) -> None:
        if isinstance(row, tables.Project):
            keys, arguments = redis_schema.encode_project(published_project(row))
            self._publish_project(keys=keys, args=arguments, client=pipeline)
        else:
            keys, arguments = redis_schema.encode_token(published_token(row))
            self._publish_token(keys=keys, args=arguments, client=pipeline)

    def _add_tombstone(self, pipeline: "Pipeline", tombstone: tables.Tombstone) -> None:
        forget_at, purged_id = tombstone.purged_at + redis_schema.REMEMBER_EXPIRED, str(tombstone.id)
        if tombstone.kind == tombstones.Kind.PROJECT:
            keys, arguments = redis_schema.encode_purged_project(purged_id, tombstone.version, forget_at)
            self._purge_project(keys=keys, args=arguments, client=pipeline)
        else:
            digest = tombstone.digest or ""
            keys, arguments = redis_schema.encode_purged_token(purged_id, digest, tombstone.version, forget_at)
            self._purge_token(keys=keys, args=arguments, client=pipeline)


def _lags(table: type[tables.Project] | type[tables.Token] | type[tables.Publication]) -> sa.ColumnElement[bool]:
    return table.published_version < table.version


def _noting(table: type[tables.Project] | type[tables.Token]) -> sa.Update:
    # A newer version may have been noted meanwhile; and a change that came after the read stays pending.
    version: sa.BindParameter[int] = sa.bindparam("noted")
    is_older = table.published_version < version
    return sa.update(table).where(table.id == sa.bindparam("row_id"), is_older).values(published_version=version)
