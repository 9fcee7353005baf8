"""Keeps the database from growing without end: what is old enough is forgotten, in short transactions."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import activity_rows, db
from manager.activity import ALL_PROJECTS
from manager.db import Sessions
from manager.export import Shipped
from manager.idempotency import KEPT
from manager.tables import IdempotentAnswer, Project, Request, Token, UiSession
from shared import logs, redis_schema

BATCH = 5000
# Of so many projects, what charts are drawn of is forgotten in one transaction: some 50,000 rows of an hour at most.
PROJECTS = 20
# Of the projects whose tokens were cleaned up, so many are named, those with the most first.
MOST_NAMED = 50
# What the export has not had yet is kept for so many retention times at most.
MOST_TIMES = 2

log = logs.get("janitor")


def forget_requests(sessions: Sessions, now: datetime, retention: timedelta, shipped: Shipped | None = None) -> int:
    """Delete requests older than the retention time; return how many. Roll-ups stay.

    `shipped` is how far the export has come, None if there is none. What it has not had yet is kept for at most
    MOST_TIMES the retention time; a warning tells how many these are.
    """
    due = Request.occurred_at < now - retention
    if shipped is not None:
        is_waited_for = sa.and_(shipped.is_behind(), Request.occurred_at >= now - MOST_TIMES * retention)
        _tell_waiting(sessions, sa.and_(due, is_waited_for))
        due = sa.and_(due, sa.not_(is_waited_for))
    old = sa.select(Request.request_id).where(due).limit(BATCH)

    def forget(session: Session) -> int:
        ids = session.scalars(old).all()
        session.execute(sa.delete(Request).where(Request.request_id.in_(ids)))
        return len(ids)

    return _in_batches(sessions, forget)


def _tell_waiting(sessions: Sessions, condition: sa.ColumnElement[bool]) -> None:
    with db.reading(sessions) as session:
        count = session.scalar(sa.select(sa.func.count()).select_from(Request).where(condition))
    if count:
        log.warning("retention_waits_for_export", requests=count)


def forget_answers(sessions: Sessions, now: datetime) -> int:
    """Delete answers that were kept for requests that may be sent twice, after their day; return how many."""
    old = sa.select(IdempotentAnswer.id).where(IdempotentAnswer.created_at < now - KEPT).limit(BATCH)

    def forget(session: Session) -> int:
        ids = session.scalars(old).all()
        session.execute(sa.delete(IdempotentAnswer).where(IdempotentAnswer.id.in_(ids)))
        return len(ids)

    return _in_batches(sessions, forget)


def forget_ui_sessions(sessions: Sessions, now: datetime) -> int:
    """Delete sessions of the admin UI that are over; return how many."""
    old = sa.select(UiSession.id).where(UiSession.expires_at <= now).limit(BATCH)

    def forget(session: Session) -> int:
        ids = session.scalars(old).all()
        # Asked once more: one of them may just have been used.
        session.execute(sa.delete(UiSession).where(UiSession.id.in_(ids), UiSession.expires_at <= now))
        return len(ids)

    return _in_batches(sessions, forget)


def forget_activity(sessions: Sessions, now: datetime) -> int:
    """Delete minutes and hours that charts are drawn of, see activity_rows.KEPT; return how many rows. Days stay."""
    with db.reading(sessions) as session:
        owners = [*session.scalars(sa.select(Project.id)), ALL_PROJECTS]

    def forget(session: Session, some: tuple[UUID, ...]) -> int:
        return activity_rows.forget(session, now, some)

    return sum(db.transact(sessions, partial(forget, some=some)) for some in batched(owners, PROJECTS))


def forget_tokens(sessions: Sessions, now: datetime, retention: timedelta) -> dict[str, Any]:
    """Delete tokens that expired longer ago than the retention time; return how many, and how many of which project.

    Not before Redis has forgotten them by itself. Their usage stays.
    """
    limit = now - max(retention, redis_schema.REMEMBER_EXPIRED)
    counts: Counter[str] = Counter()
    old = sa.select(Token.id).where(Token.expires_at < limit).order_by(Token.expires_at).limit(BATCH)

    def forget(session: Session) -> list[str]:
        ids = session.scalars(old).all()
        # Asked once more: one of them may just have been given a new life.
        deleted = sa.delete(Token).where(Token.id.in_(ids), Token.expires_at < limit).returning(Token.project_id)
        return [str(project_id) for project_id in session.scalars(deleted)]

    while projects := db.transact(sessions, forget):
        counts.update(projects)
    return {"tokens": counts.total(), "projects": _named(sessions, counts)}


def _named(sessions: Sessions, counts: Counter[str]) -> dict[str, Any]:
    with db.reading(sessions) as session:
        known = session.execute(sa.select(Project.id, Project.name)).all() if counts else []
    names = {str(project_id): name for project_id, name in known}
    return {each: {"name": names.get(each, ""), "tokens": count} for each, count in counts.most_common(MOST_NAMED)}


def _in_batches(sessions: Sessions, forget: Callable[[Session], int]) -> int:
    forgotten = 0
    while True:
        count = db.transact(sessions, forget)
        forgotten += count
        if count < BATCH:
            return forgotten
