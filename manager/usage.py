"""Usage as it was rolled up per hour, summed up by whatever is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.principals import EVERYTHING, Scope
from manager.tables import HourlyUsage, Project, UtcDateTime

SUMS = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_prompt_tokens",
    "audio_completion_tokens",
    "request_bytes",
    "response_bytes",
    "duration_ms",
    "cost_nano_usd",
    "unpriced_requests",
    "estimated_requests",
)
# How the beginning of a period is written on SQLite, where a time is a text in UTC.
_BEGINNINGS = {
    "hour": "%Y-%m-%d %H:00:00.000000",
    "day": "%Y-%m-%d 00:00:00.000000",
    "month": "%Y-%m-01 00:00:00.000000",
}
_COLUMNS = {
    "project": HourlyUsage.project_id,
    "token": HourlyUsage.token_id,
    "route": HourlyUsage.route,
    "model": HourlyUsage.model,
    "status_class": HourlyUsage.status_class,
    "provider": Project.provider,
}
GROUPS = (*_BEGINNINGS, *_COLUMNS)


@dataclass(frozen=True)
class Sums:
    """The groups in their order, each with its keys and sums; `is_cut` if there are more."""

    items: list[dict[str, Any]]
    is_cut: bool


def summed(
    session: Session,
    group_by: Sequence[str],
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    scope: Scope = EVERYTHING,
    **wanted: Any,
) -> Sums:
    """Return sums for each group (names as in `GROUPS`; none: of everything), sorted by the groups.

    Of hours that begin from `since` on and before `until`, with the given project_id, token_id, model, route,
    status_class and provider unless None.
    """
    keys = [_key(session, name).label(name) for name in dict.fromkeys(group_by)]
    query = sa.select(*keys, *[sa.func.sum(getattr(HourlyUsage, name)).label(name) for name in SUMS])
    if since is not None:
        query = query.where(HourlyUsage.hour >= since)
    if until is not None:
        query = query.where(HourlyUsage.hour < until)
    if scope.project_ids is not None:
        query = query.where(HourlyUsage.project_id.in_(scope.project_ids))
    if "provider" in group_by or wanted.get("provider") is not None:
        query = query.join_from(HourlyUsage, Project, Project.id == HourlyUsage.project_id)
    for name, value in wanted.items():
        if value is not None:
            query = query.where((Project if name == "provider" else HourlyUsage).__table__.c[name] == value)
    rows = session.execute(query.group_by(*keys).order_by(*keys).limit(limit + 1)).mappings().all()
    return Sums([_item(row) for row in rows[:limit]], len(rows) > limit)


def _key(session: Session, name: str) -> "sa.ColumnElement[Any]":
    if name in _COLUMNS:
        return sa.type_coerce(_COLUMNS[name], _COLUMNS[name].type)
    if session.get_bind().dialect.name == "sqlite":
        return sa.func.strftime(_text(_BEGINNINGS[name]), HourlyUsage.hour, type_=UtcDateTime())
    # As in the line above, no parameters: PostgreSQL would not see that what is grouped by is what is asked for.
    return sa.func.date_trunc(_text(name), HourlyUsage.hour, _text("UTC"), type_=UtcDateTime())


def _text(value: str) -> "sa.ColumnElement[str]":
    return sa.literal_column(f"'{value}'")


def _item(row: Any) -> dict[str, Any]:
    item = dict(row)
    for name in SUMS:
        item[name] = float(item[name] or 0) if name == "duration_ms" else int(item[name] or 0)
    # Where nothing is known, a sum of nothing would be a lie.
    cost = item.pop("cost_nano_usd")
    item["cost"] = None if item["unpriced_requests"] and not cost else cost
    return item
