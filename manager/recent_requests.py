"""Recent requests: what the collector has recorded and retention has not yet forgotten."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.errors import NotFound
from manager.pages import Page, order, sorted_page
from manager.principals import EVERYTHING, Scope
from manager.tables import Request

# Their ids sort by time: that of the machine that gave them, at which the request arrived there a moment later.
SORTS = {"occurred_at": None}
SLACK = timedelta(minutes=2)
SAME = (
    "token_id",
    "project_id",
    "upstream_key_id",
    "provider",
    "model",
    "route",
    "status",
    "outcome",
    "error_code",
    "request_id",
    "provider_request_id",
    "is_stream",
)


def list_page(
    session: Session,
    limit: int,
    cursor: str | None,
    *,
    scope: Scope = EVERYTHING,
    sort: str = "-occurred_at",
    **wanted: Any,
) -> Page[Request]:
    """Return a page of requests, newest first.

    Filters, unless None: what is in `SAME`; since (included) and until (not included); status_class (2 for 200 to 299;
    0 for those without a status); min_duration_ms. Raises Invalid.
    """
    query = sa.select(Request)
    if scope.project_ids is not None:
        query = query.where(Request.project_id.in_(scope.project_ids))
    for name in SAME:
        if wanted.get(name) is not None:
            query = query.where(getattr(Request, name) == wanted[name])
    if (since := wanted.get("since")) is not None:
        query = query.where(Request.occurred_at >= since, Request.request_id >= _first_id(since))
    if (until := wanted.get("until")) is not None:
        query = query.where(Request.occurred_at < until, Request.request_id <= _last_id(until))
    if (status_class := wanted.get("status_class")) is not None:
        query = query.where(Request.status >= status_class * 100, Request.status < status_class * 100 + 100)
    if (least := wanted.get("min_duration_ms")) is not None:
        query = query.where(Request.duration_ms >= least)
    return sorted_page(session, query, Request.request_id, order(sort, SORTS), limit, cursor)


def _first_id(since: datetime) -> "sa.Function[str]":
    """Return an id before those of requests since then, so that no more of them are looked at than need be."""
    before = sa.select(Request.request_id).where(Request.occurred_at < _shifted(since, -SLACK))
    last = before.order_by(Request.occurred_at.desc(), Request.request_id.desc()).limit(1)
    return sa.func.coalesce(last.scalar_subquery(), "")


def _last_id(until: datetime) -> "sa.Function[str]":
    after = sa.select(Request.request_id).where(Request.occurred_at >= _shifted(until, SLACK))
    first = after.order_by(Request.occurred_at, Request.request_id).limit(1)
    newest = sa.select(sa.func.max(Request.request_id))
    return sa.func.coalesce(first.scalar_subquery(), newest.scalar_subquery())


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # The calendar ends there.
        return moment


def get(session: Session, request_id: str, *, scope: Scope = EVERYTHING) -> Request:
    """Return a request. Raises NotFound, also for one that retention has forgotten."""
    # PostgreSQL takes no text with a NUL in it.
    found = session.get(Request, request_id) if "\0" not in request_id else None
    if found is None or not scope.includes(found.project_id):
        raise NotFound("There is no such request, or no longer.")
    return found
