"""Keeps the database from growing without end: single requests are forgotten after the retention time."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db
from manager.db import Sessions
from manager.tables import Request

BATCH = 5000


def forget_requests(sessions: Sessions, now: datetime, retention: timedelta) -> int:
    """Delete requests older than the retention time, in short transactions; return how many. Roll-ups stay."""
    old = sa.select(Request.request_id).where(Request.occurred_at < now - retention).limit(BATCH)

    def forget(session: Session) -> int:
        ids = session.scalars(old).all()
        session.execute(sa.delete(Request).where(Request.request_id.in_(ids)))
        return len(ids)

    forgotten = 0
    while True:
        count = db.transact(sessions, forget)
        forgotten += count
        if count < BATCH:
            return forgotten
