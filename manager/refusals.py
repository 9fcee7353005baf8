"""Refused requests as the audit has them: how many of which project, and why, for each interval.

Workers add up in Redis (see addons/refusal_counts.py). A batch is taken aside under an id, written down, and thrown
away by its id. Any number of processes may do so at once: they write one after the other, and each one sees by the id
what has been written down.
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
from manager.tables import AuditEvent, Lease, new_id
from shared import redis_schema
from shared.models import Outcome

_SOURCE = audit.Source(audit.DATA_PLANE)
_BATCH_ID = b"batch"
# The row that whoever writes down a batch has to itself until it is committed.
_TURN = "refusals"


class Refusals:
    """Writes counts down as events of the audit. Raises RedisError and SQLAlchemyError; nothing is lost by it."""

    def __init__(self, client: "redis.Redis", sessions: Sessions) -> None:
        self._redis = client
        self._sessions = sessions
        self._take = client.register_script(redis_schema.script("take_refusals"))
        self._drop = client.register_script(redis_schema.script("drop_refusals"))

    def write_down(self, now: datetime) -> dict[str, Any]:
        """Write down what has come in since the last time; return how many events, and how many refusals."""
        taken = self._take_aside()
        if not taken:
            return {"events": 0, "refusals": 0}
        batch = UUID(taken.pop(_BATCH_ID).decode())
        counts = {field: int(count) for field, count in map(_decoded, taken.items())}
        written = db.transact(self._sessions, lambda session: _write(session, now, batch, counts))
        self._drop(keys=[redis_schema.REFUSALS_TAKEN], args=[str(batch)])
        return {"events": written, "refusals": sum(counts.values()) if written else 0}

    def _take_aside(self) -> dict[bytes, bytes]:
        """Return the batch that is to be written down, nothing if nothing was refused."""
        keys = [redis_schema.REFUSALS, redis_schema.REFUSALS_TAKEN]
        told = cast(list[bytes], self._take(keys=keys, args=[str(new_id())]))
        return dict(zip(told[::2], told[1::2], strict=True))


def _write(session: Session, now: datetime, batch: UUID, counts: Mapping[tuple[str, str], int]) -> int:
    _line_up(session, now)
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


def _line_up(session: Session, now: datetime) -> None:
    """Wait until nobody else is writing down a batch; what others have written is seen from here on."""
    row = db.insert(session, Lease).values(name=_TURN, holder=_TURN, until=now)
    session.execute(row.on_conflict_do_update(index_elements=["name"], set_={"until": now}))


def _decoded(entry: tuple[bytes, bytes]) -> tuple[tuple[str, str], int]:
    field, count = entry
    return redis_schema.decode_refusal(field), int(count)
