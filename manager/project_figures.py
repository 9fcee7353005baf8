"""What a project comes to: what it used this month, and what would break without it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import tokens, usage
from manager.principals import Scope
from manager.tables import Token

_DAYS = 31
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "total_tokens", "unpriced_requests")


@dataclass(frozen=True)
class Month:
    """What was used since the month began, in UTC; the cost in nano-USD, None if none of it is known."""

    requests: int = 0
    cost: int | None = 0


@dataclass(frozen=True)
class Stakes:
    """What depends on a project: tokens that work now, and requests of the last 24 hours."""

    active_tokens: int
    requests_of_day: int


def month_of(now: datetime) -> datetime:
    """Return when the month began, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months(session: Session, now: datetime, project_ids: Iterable[UUID]) -> Mapping[UUID, Month]:
    """Return what projects used this month, in one query; those that used nothing are left out."""
    ids = frozenset(project_ids)
    if not ids:
        return {}
    sums = usage.summed(session, ["project"], len(ids), month_of(now), scope=Scope(ids))
    return {item["project"]: Month(item["requests"], item["cost"]) for item in sums.items}


def days(session: Session, now: datetime, project_id: UUID) -> Sequence[Mapping[str, Any]]:
    """Return the usage of each day of this month that has some, the first one first; see usage.summed."""
    return usage.summed(session, ["day"], _DAYS, month_of(now), project_id=project_id).items


def total(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of days: requests, tokens, and cost, which is None if there is usage, and none of it is known."""
    known = [item["cost"] for item in items if item["cost"] is not None]
    return {name: sum(item[name] for item in items) for name in _SUMS} | {
        "cost": sum(known) if known or not items else None
    }


def stakes(session: Session, now: datetime, project_id: UUID) -> Stakes:
    """Return what depends on a project."""
    query = sa.select(sa.func.count()).select_from(Token)
    active = session.scalar(tokens.matching(session, query, now, project_id=project_id, state=tokens.State.ACTIVE))
    since = now - timedelta(days=1)
    [lately] = usage.summed(session, [], 1, since, project_id=project_id).items
    return Stakes(active or 0, lately["requests"])
