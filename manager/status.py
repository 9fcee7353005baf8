"""What goes on: stores, what has not been recorded or published, breakers, keys, workers, jobs. Reads, and never fails.

What a store would have to tell while it is away is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, cast

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import collector, db, dead_letters
from manager.db import Sessions
from manager.tables import JobRun, Project, Publication, Token, UpstreamKey
from manager.upstream_health import Health, health_of
from shared import redis_schema

VERSION = metadata.version("llm-proxy")
MOST_BREAKERS = 1000


@dataclass(frozen=True)
class Breaker:
    """A key or origin (`subject`) that is set aside."""

    subject: str
    health: Health


def of_redis(client: "redis.Redis") -> dict[str, Any] | None:
    """Return lag, dead_letters, running_requests, leases_renewed_at, workers and breakers; None if Redis is away."""
    try:
        return {
            "usage_lag": collector.lag(client),
            "dead_letters": dead_letters.count(client),
            "running_requests": client.zcard(redis_schema.OPEN),
            "leases_renewed_at": _moment(client.get(redis_schema.RENEWED)),
            "workers": workers(client),
            "breakers": _breakers(client),
        }
    except redis.RedisError:
        return None


def of_database(sessions: Sessions) -> dict[str, Any] | None:
    """Return unpublished, projects, tokens, keys and jobs; None if the database is away."""
    try:
        with db.reading(sessions) as session:
            return {
                "unpublished": unpublished(session),
                "active_projects": _count(session, Project.is_active),
                "active_tokens": _count(session, sa.and_(Token.is_active, Token.expires_at > datetime.now(UTC))),
                "active_keys": _count(session, UpstreamKey.is_active),
                "jobs": session.scalars(sa.select(JobRun).order_by(JobRun.name)).all(),
            }
    except SQLAlchemyError:
        return None


def unpublished(session: Session) -> dict[str, int]:
    """Return how many projects, tokens and publications have changes that are stored and not published."""
    tables: Mapping[str, Any] = {"projects": Project, "tokens": Token, "publications": Publication}
    return {name: _count(session, table.published_version < table.version) for name, table in tables.items()}


def _count(session: Session, condition: "sa.SQLColumnExpression[Any]") -> int:
    return session.scalar(sa.select(sa.func.count()).where(condition)) or 0


def workers(client: "redis.Redis") -> list[dict[str, Any]]:
    """Return name and seen_at of the workers that were heard of in the last seconds. Raises RedisError."""
    alive = redis_schema.to_ms(datetime.now(UTC)) - redis_schema.WORKER_MS
    found = client.zrangebyscore(redis_schema.WORKERS, alive, "+inf", withscores=True)
    entries = sorted(cast(list[tuple[bytes, float]], found))
    return [{"name": name.decode(errors="replace"), "seen_at": _moment(seen)} for name, seen in entries]


def _breakers(client: "redis.Redis") -> list[Breaker]:
    found = cast(dict[bytes, bytes], client.hgetall(redis_schema.BREAKERS))
    known = {name.decode(errors="replace"): health_of(payload) for name, payload in sorted(found.items())}
    aside = [Breaker(name, health) for name, health in known.items() if health and health.state != "ok"]
    return aside[:MOST_BREAKERS]


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return redis_schema.from_ms(int(milliseconds))
    except (OSError, OverflowError, TypeError, ValueError):
        return None
