"""Finding events of the audit: by what was done, by whom, to whom, when, and by any text in them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import texts
from manager.errors import NotFound
from manager.pages import Page, order, sorted_page
from manager.principals import EVERYTHING, Scope
from manager.tables import AuditEvent

# By when they were written down (`id`), which is not quite when they happened.
SORTS = {"id": None, "occurred_at": AuditEvent.occurred_at}


def list_page(
    session: Session, limit: int, cursor: str | None, scope: Scope = EVERYTHING, sort: str = "-id", **wanted: Any
) -> Page[AuditEvent]:
    """Return a page of events, newest first; see `conditions`. Raises Invalid."""
    query = sa.select(AuditEvent).where(*conditions(scope, **wanted))
    return sorted_page(session, query, AuditEvent.id, order(sort, SORTS), limit, cursor)


def get(session: Session, event_id: UUID, scope: Scope = EVERYTHING) -> AuditEvent:
    """Return an event. Raises NotFound."""
    event = session.scalar(sa.select(AuditEvent).where(AuditEvent.id == event_id, *conditions(scope)))
    if event is None:
        raise NotFound("There is no such event.")
    return event


def conditions(
    scope: Scope = EVERYTHING,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    text: str | None = None,
    **equal: Any,
) -> Sequence["sa.ColumnElement[bool]"]:
    """Return what an event must fulfil: within the scope, from `since` on, before `until`, with equal columns.

    `text` is looked for in actor, address and details, whatever its case. What is None does not matter. Raises Invalid.
    """
    found = [getattr(AuditEvent, name) == _checked(value, name) for name, value in equal.items() if value is not None]
    if scope.project_ids is not None:
        found.append(AuditEvent.project_id.in_(scope.project_ids))
    if since is not None:
        found.append(AuditEvent.occurred_at >= since)
    if until is not None:
        found.append(AuditEvent.occurred_at < until)
    if text is not None:
        found.append(_has_text(texts.check_text(text, "text")))
    return found


def _checked(value: Any, name: str) -> Any:
    return texts.check_text(value, name) if isinstance(value, str) else value


def _has_text(text: str) -> "sa.ColumnElement[bool]":
    # Details of earlier releases hold letters beyond ASCII as escapes.
    detail = sa.cast(AuditEvent.detail, sa.Text)
    as_stored = {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (False, True)}
    return sa.or_(
        AuditEvent.actor.icontains(text, autoescape=True),
        AuditEvent.address.icontains(text, autoescape=True),
        *(detail.icontains(each, autoescape=True) for each in sorted(as_stored)),
    )
