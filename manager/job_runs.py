"""The latest run of each job: when, with which report, or why it failed. Plain functions over a session."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db
from manager.tables import JobRun

SUCCESS, FAILURE, RUNNING = "success", "failure", "running"
_LONGEST_REASON = 500


def begin(session: Session, name: str, now: datetime) -> None:
    """Note that a job has begun; the report of its last run stays until it ends."""
    change: dict[str, Any] = {"started_at": now, "ended_at": None, "outcome": RUNNING}
    statement = db.insert(session, JobRun).values(name=name, report={}, reason="", attempts=1, **change)
    change["attempts"] = JobRun.attempts + 1
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=change))


def end(session: Session, name: str, now: datetime, report: Mapping[str, Any] | None, reason: str = "") -> None:
    """Note how a job has ended: with a report, or None and the reason."""
    change: dict[str, Any] = {"ended_at": now, "outcome": FAILURE if report is None else SUCCESS}
    change["reason"] = reason[:_LONGEST_REASON]
    if report is not None:
        change |= {"report": dict(report), "attempts": 0}
    session.execute(sa.update(JobRun).where(JobRun.name == name).values(change))


def latest(session: Session, name: str) -> JobRun | None:
    """Return the latest run of a job."""
    return session.get(JobRun, name)


def all_latest(session: Session) -> Sequence[JobRun]:
    """Return the latest run of every job that has ever run, by name."""
    return session.scalars(sa.select(JobRun).order_by(JobRun.name)).all()
