"""Refused requests as the audit has them: how many of which project, and why, for each interval.

Workers add up in Redis (see addons/refusal_counts.py). A batch is taken aside under an id before it is written down,
and thrown away afterwards; the id keeps one that was written down from being written again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db
from manager.db import Sessions
from manager.tables import AuditEvent, new_id
from shared import redis_schema
from shared.models import Outcome

_SOURCE = audit.Source(audit.DATA_PLANE)
_BATCH_ID = b"batch"


class Refusals:
    """Writes counts down as events of the audit. Raises RedisError and SQLAlchemyError; nothing is lost by it."""

    def __init__(self, client: "redis.Redis", sessions: Sessions) -> None:
        self._redis = client
        self._sessions = sessions

    def write_down(self, now: datetime) -> dict[str, Any]:
        """Write down what has come in since the last time; return how many events, and how many refusals."""
        if not self._take_aside():
            return {"events": 0, "refusals": 0}
        taken = cast(dict[bytes, bytes], self._redis.hgetall(redis_schema.REFUSALS_TAKEN))
        batch = UUID(taken.pop(_BATCH_ID).decode())
        counts = {field: int(count) for field, count in map(_decoded, taken.items())}
        written = db.transact(self._sessions, lambda session: _write(session, now, batch, counts))
        self._redis.delete(redis_schema.REFUSALS_TAKEN)
        return {"events": written, "refusals": sum(counts.values()) if written else 0}

    def _take_aside(self) -> bool:
        """Make sure that there is a batch with an id; False if nothing was refused."""
        try:
            self._redis.renamenx(redis_schema.REFUSALS, redis_schema.REFUSALS_TAKEN)
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
        if not self._redis.exists(redis_schema.REFUSALS_TAKEN):
            return False
        self._redis.hsetnx(redis_schema.REFUSALS_TAKEN, _BATCH_ID.decode(), str(new_id()))
        return True


def _write(session: Session, now: datetime, batch: UUID, counts: Mapping[tuple[str, str], int]) -> int:
    if session.scalar(sa.select(AuditEvent.id).where(AuditEvent.subject_id == batch).limit(1)) is not None:
        return 0
    for (project_id, code), count in sorted(counts.items()):
        audit.note(
            session,
            now,
            _SOURCE,
            audit.Action.REQUESTS_REFUSED,
            project_id=UUID(project_id) if project_id else None,
            subject_id=batch,
            outcome=Outcome.REFUSED.value,
            detail={"code": code, "count": count},
        )
    return len(counts)


def _decoded(entry: tuple[bytes, bytes]) -> tuple[tuple[str, str], int]:
    field, count = entry
    return redis_schema.decode_refusal(field), int(count)
