"""Usage as it was rolled up per hour and day, summed up by whatever is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import money
from manager.principals import EVERYTHING, Scope
from manager.tables import DailyUsage, HourlyUsage, Project, UtcDateTime

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
_KINDS = ("project_id", "token_id", "route", "model", "status_class")
_KEYS = {"project": "project_id", "token": "token_id", "route": "route", "model": "model"}
_KEYS["status_class"] = "status_class"
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
_DAY, _TICK = timedelta(days=1), timedelta(microseconds=1)
GROUPS = (*_BEGINNINGS, *_KEYS, "provider")


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
    status_class and provider unless None. Whole days are taken from what was rolled up by day.
    """
    provider = wanted.pop("provider", None)
    spans = [("hour", since, until)] if "hour" in group_by else list(_spans(since, until))
    source = _source(spans, scope, wanted, SUMS)
    keys = [_key(session, source, name).label(name) for name in dict.fromkeys(group_by)]
    query = sa.select(*keys, *[sa.func.sum(source.c[name]).label(name) for name in SUMS])
    if "provider" in group_by or provider is not None:
        query = query.join_from(source, Project, Project.id == source.c.project_id)
    if provider is not None:
        query = query.where(Project.provider == provider)
    rows = session.execute(query.group_by(*keys).order_by(*keys).limit(limit + 1)).mappings().all()
    return Sums([_item(row) for row in rows[:limit]], len(rows) > limit)


def most(
    session: Session,
    key: str,
    count: int,
    since: datetime | None = None,
    until: datetime | None = None,
    scope: Scope = EVERYTHING,
    **wanted: Any,
) -> list[dict[str, Any]]:
    """Return what cost most, and then was asked for most, by one of the groups but times and the provider: see summed.

    Each with its key, requests, total_tokens and cost.
    """
    names = ("requests", "total_tokens", "cost_nano_usd", "unpriced_requests")
    source = _source(list(_spans(since, until)), scope, wanted, names)
    column = _key(session, source, key).label(key)
    sums = [sa.func.sum(source.c[name]).label(name) for name in names]
    order = [sa.desc("cost_nano_usd"), sa.desc("requests"), column]
    rows = session.execute(sa.select(column, *sums).group_by(column).order_by(*order).limit(count))
    return [_item(row, names) for row in rows.mappings()]


def _source(
    spans: Sequence[tuple[str, datetime | None, datetime | None]],
    scope: Scope,
    wanted: Mapping[str, Any],
    names: Sequence[str],
) -> "sa.Subquery":
    kinds = {name: value for name, value in wanted.items() if value is not None}
    parts = [_part(*span, scope, kinds, names) for span in spans]
    return (sa.union_all(*parts) if len(parts) > 1 else parts[0]).subquery("usage")


def _spans(since: datetime | None, until: datetime | None) -> Iterator[tuple[str, datetime | None, datetime | None]]:
    """Take the whole days out of a span: each part with what it is counted in, its beginning and its end."""
    if since is not None and since >= _LAST_DAY:  # No day begins later.
        yield "hour", since, until
        return
    first = None if since is None else _midnight(since + _DAY - _TICK)
    last = None if until is None else _midnight(until)
    if first is not None and last is not None and first >= last:
        yield "hour", since, until
        return
    yield "day", first, last
    if since != first:
        yield "hour", since, first
    if until != last:
        yield "hour", last, until


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _part(
    unit: str,
    since: datetime | None,
    until: datetime | None,
    scope: Scope,
    kinds: Mapping[str, Any],
    names: Sequence[str],
) -> "sa.Select[Any]":
    table = HourlyUsage.__table__ if unit == "hour" else DailyUsage.__table__
    query = sa.select(table.c[unit].label("moment"), *[table.c[name] for name in (*_KINDS, *names)])
    if since is not None:
        query = query.where(table.c[unit] >= since)
    if until is not None:
        query = query.where(table.c[unit] < until)
    if scope.project_ids is not None:
        query = query.where(table.c.project_id.in_(scope.project_ids))
    for name, value in kinds.items():
        query = query.where(table.c[name] == value)
    return query


def _key(session: Session, source: "sa.Subquery", name: str) -> "sa.ColumnElement[Any]":
    if name == "provider":
        return sa.type_coerce(Project.provider, Project.provider.type)
    if name in _KEYS:
        column = source.c[_KEYS[name]]
        return sa.type_coerce(column, column.type)
    if session.get_bind().dialect.name == "sqlite":
        return sa.func.strftime(_text(_BEGINNINGS[name]), source.c.moment, type_=UtcDateTime())
    # As in the line above, no parameters: PostgreSQL would not see that what is grouped by is what is asked for.
    return sa.func.date_trunc(_text(name), source.c.moment, _text("UTC"), type_=UtcDateTime())


def _text(value: str) -> "sa.ColumnElement[str]":
    return sa.literal_column(f"'{value}'")


def _item(row: Any, names: Sequence[str] = SUMS) -> dict[str, Any]:
    item = dict(row)
    for name in names:
        item[name] = float(item[name] or 0) if name == "duration_ms" else int(item[name] or 0)
    item["cost"] = money.known(item.pop("cost_nano_usd"), item["unpriced_requests"])
    return item
