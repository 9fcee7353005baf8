"""Puts right in Redis what was found to differ from SQL."""

from collections.abc import Sequence
from uuid import UUID

import redis
import sqlalchemy as sa

from manager import db
from manager.comparisons import Difference, raw
from manager.db import Sessions
from manager.publisher import Publisher
from manager.tables import Project, Token
from manager.upstream_health import UpstreamHealth
from shared import redis_schema
from shared.models import Scope
from shared.redis_schema import Revoked, encode_control
from shared.rules_schema import RULES


class Mending:
    """One way for each kind of difference. Raises RedisError, SQLAlchemyError and PublishError as they come."""

    def __init__(self, client: "redis.Redis", sessions: Sessions, publisher: Publisher) -> None:
        self._redis = client
        self._sessions = sessions
        self._publisher = publisher
        self._health = UpstreamHealth(client)

    def types(self, differences: Sequence[Difference]) -> None:
        """Remove what is of another type than it has to be, and publish it again; its counters are raised later."""
        for difference in differences:
            self._redis.delete(difference.id)
            if difference.id == redis_schema.GLOBAL_LIMITS:
                self._publisher.publish_limits()
            elif difference.id == redis_schema.PRICES:
                self._publisher.publish_prices()
            elif difference.id == RULES:
                self._publisher.publish_rules()
            elif difference.id == redis_schema.CORS_ORIGINS:
                self._publisher.publish_origins()

    def rows(self, differences: Sequence[Difference]) -> None:
        """Publish projects, or tokens, as SQL has them."""
        is_project = differences[0].kind.startswith("project")
        table: type[Project] | type[Token] = Project if is_project else Token
        for difference in differences:
            if difference.kind.endswith("_counters"):
                self._clear_counters(difference)
            elif is_project and "expiry" in difference.fields:
                self._redis.persist(redis_schema.project_key(difference.id))
            elif difference.problem in ("damaged", "purged"):
                self._clear(table, UUID(difference.id))
            elif difference.problem == "newer":
                self._outdo(table, UUID(difference.id))
        self._publisher.publish_rows(table, [UUID(difference.id) for difference in differences])

    def _clear(self, table: type[Project] | type[Token], row_id: UUID) -> None:
        """Make room for what cannot be written over what is there."""
        self._redis.delete(*self._keys(table, row_id))

    def _clear_counters(self, difference: Difference) -> None:
        """Make room for counters where there is none that can be raised."""
        if difference.problem != "damaged":
            return
        if difference.kind == "token_counters" and not difference.fields:
            self._redis.delete(redis_schema.used_key(Scope.TOKEN, difference.id))
            return
        scope = Scope.TOKEN if difference.kind == "token_counters" else Scope.GLOBAL
        self._redis.hdel(redis_schema.used_key(scope, difference.id), *difference.fields)

    def _outdo(self, table: type[Project] | type[Token], row_id: UUID) -> None:
        """Let SQL have the last word over a Redis that is ahead of it, as after a backup was restored."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in self._keys(table, row_id):
                pipeline.hget(key, "version")
            found = [version for version in pipeline.execute(raise_on_error=False) if isinstance(version, bytes)]
        newest = max((int(version) for version in found if version.isdigit()), default=0)
        with self._sessions.begin() as session:
            newer = sa.update(table).where(table.id == row_id, table.version <= newest)
            session.execute(newer.values(version=newest + 1).execution_options(synchronize_session=False))

    def _keys(self, table: type[Project] | type[Token], row_id: UUID) -> list[str]:
        if table is Project:
            return [redis_schema.project_key(str(row_id))]
        with db.reading(self._sessions) as session:
            digests = session.execute(sa.select(Token.digest, Token.previous_digest).where(Token.id == row_id)).first()
        known = [redis_schema.token_key(digest) for digest in digests or () if digest]
        return [redis_schema.identity_key(str(row_id)), *known]

    def the_rest(self, differences: Sequence[Difference]) -> None:
        """Publish what there is once."""
        for difference in differences:
            if difference.kind == "global_counters":
                self._clear_counters(difference)
            if difference.kind in ("limits", "global_counters"):
                self._publisher.publish_limits()
            elif difference.kind == "prices":
                self._publisher.publish_prices()
            elif difference.kind == "rules":
                self._publisher.publish_rules()
            else:
                self._publisher.publish_origins()

    def keys(self, differences: Sequence[Difference]) -> None:
        """Remove what belongs to nothing, and cut its running requests."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for difference in differences:
                pipeline.delete(raw(difference.id))
                row_id = difference.id.rpartition(":")[2]
                if difference.kind in ("identity", "project") and row_id.isprintable():
                    notice = Revoked("project" if difference.kind == "project" else "token", row_id)
                    pipeline.publish(redis_schema.CONTROL_CHANNEL, encode_control(notice))
            pipeline.execute()

    def used(self, differences: Sequence[Difference]) -> None:
        """Remove what projects have used that are gone."""
        self._redis.hdel(redis_schema.used_key(Scope.GLOBAL), *[raw(difference.id) for difference in differences])

    def breakers(self, differences: Sequence[Difference]) -> None:
        """Close the breakers of keys that are gone."""
        subjects = [difference.id for difference in differences]
        if unreadable := [raw(subject) for subject in subjects if not subject.isprintable()]:
            self._redis.hdel(redis_schema.BREAKERS, *unreadable)
        self._health.forgive_subjects([subject for subject in subjects if subject.isprintable()])
