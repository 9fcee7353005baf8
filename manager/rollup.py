"""Puts usage events into SQL: each request once, sums by hour, tokens' counters, cut streams; in one transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import activity_rows as activity
from manager import audit, db
from manager.tables import DailyUsage, HourlyUsage, Request, Token
from manager.usage import SUMS
from shared.models import Outcome, Usage, UsageEvent
from shared.prices import PriceTable, cost_of

_KIND = ("project_id", "token_id", "route", "model", "status_class")
_TOKENS = tuple(name for name in Usage.__slots__ if name.endswith("_tokens"))
_COUNTS = ("requests", "unpriced_requests", "estimated_requests")
_PLAUSIBLE = range(2**31)
# Some 8,800 USD for one request are a fault in a price, or in a provider's counts.
_MOST_COST = 2**43
_NO_PRICES = PriceTable()


def _larger(column: Any, name: str) -> Any:
    seen = sa.bindparam(name, type_=column.type)
    return sa.case((sa.or_(column.is_(None), column < seen), seen), else_=column)


# Counters of tokens only grow, whatever order requests come in.
_RAISE_COUNTERS = (
    sa.update(Token)
    .where(Token.id == sa.bindparam("token"))
    .values(request_count=_larger(Token.request_count, "sequence"), last_used_at=_larger(Token.last_used_at, "moment"))
)


def request_row(event: UsageEvent, prices: PriceTable = _NO_PRICES) -> dict[str, Any]:
    """Return the columns of `requests` for an event at these prices; texts are cut to their columns.

    Raises ValueError if an id is not a UUID, a number is too large for its column, or the time has no zone.
    """
    usage = _plausible(event.usage)
    row = {name: getattr(event, name) for name in UsageEvent.__slots__ if name != "usage"}
    row |= asdict(usage)
    row |= {"project_id": UUID(event.project_id), "token_id": UUID(event.token_id), "outcome": event.outcome.value}
    row["upstream_key_id"] = UUID(event.upstream_key_id) if event.upstream_key_id else None
    row |= {"tokens_per_second": _pace(event, usage), "cost_nano_usd": _cost(event, usage, prices), "recorded_at": None}
    return {column.name: _fitting(column, row[column.name]) for column in Request.__table__.columns}


def _plausible(usage: Usage) -> Usage:
    # A provider may say anything; what it cannot mean must neither stop the collector nor spoil the sums.
    counts = {name: getattr(usage, name) for name in _TOKENS}
    meant = {name: count if count is not None and count in _PLAUSIBLE else None for name, count in counts.items()}
    return Usage(**meant, is_estimate=usage.is_estimate)


def _pace(event: UsageEvent, usage: Usage) -> float | None:
    """Return the completion's tokens per second since the first byte, of streams: other answers come at once."""
    if not event.is_stream or event.first_byte_ms is None or usage.completion_tokens is None:
        return None
    milliseconds = event.duration_ms - event.first_byte_ms
    return usage.completion_tokens * 1000 / milliseconds if milliseconds > 0 else None


def _cost(event: UsageEvent, usage: Usage, prices: PriceTable) -> int | None:
    if event.occurred_at.tzinfo is None:
        raise ValueError("a time without zone")
    found = cost_of(prices, replace(event, usage=usage))
    return found if found is not None and found <= _MOST_COST else None


def _fitting(column: "sa.ColumnElement[Any]", value: Any) -> Any:
    if isinstance(value, str) and isinstance(column.type, sa.String):
        return value.replace("\0", "")[: column.type.length]
    if isinstance(value, int) and isinstance(column.type, sa.Integer):
        bits = 63 if isinstance(column.type, sa.BigInteger) else 31
        if not -(2**bits) <= value < 2**bits:
            raise ValueError(f"a number of more than {bits} bits")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time without zone")
    return value


def record(session: Session, rows: Sequence[dict[str, Any]]) -> int:
    """Record request rows; those recorded before change nothing. Returns how many were new.

    A request that was taken for lost and turns out to have ended otherwise is corrected, in the sums, too.
    """
    if not rows:
        return 0
    moment = datetime.now(UTC)
    rows = [{**row, "recorded_at": moment} for row in rows]
    once = {row["request_id"]: row for row in sorted(rows, key=lambda row: row["outcome"] != Outcome.LOST)}
    statement = db.insert(session, Request).on_conflict_do_nothing().returning(Request.request_id)
    in_order = [once[request_id] for request_id in sorted(once)]
    new = [once[request_id] for request_id in session.scalars(statement, in_order)]
    known = once.keys() - {row["request_id"] for row in new}
    taken_back, corrected = _correct(session, [once[request_id] for request_id in sorted(known)])
    hours = [*map(_hourly, new), *map(_hourly, corrected), *map(_negative, map(_hourly, taken_back))]
    _add_up(session, HourlyUsage, "hour", hours)
    _add_up(session, DailyUsage, "day", map(_daily, hours))
    _forget_empty(session, taken_back)
    _count(session, new)
    audit.note_cuts(session, [*new, *corrected])
    activity.record(session, [*new, *corrected], taken_back)
    return len(new)


def _correct(session: Session, rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Put rows in the place of those whose requests had been taken for lost; returns the old and the new ones."""
    late = {row["request_id"]: row for row in rows if row["outcome"] != Outcome.LOST}
    query = sa.select(Request).where(Request.request_id.in_(late), Request.outcome == Outcome.LOST)
    lost = session.scalars(query.order_by(Request.request_id).with_for_update()).all() if late else []
    taken_back = [{column.name: getattr(row, column.name) for column in Request.__table__.columns} for row in lost]
    for row in lost:
        for name, value in late[row.request_id].items():
            setattr(row, name, value)
    return taken_back, [late[row.request_id] for row in lost]


def _forget_empty(session: Session, taken_back: Iterable[dict[str, Any]]) -> None:
    if hours := {_hourly(row)["hour"] for row in taken_back}:
        session.execute(sa.delete(HourlyUsage).where(HourlyUsage.hour.in_(hours), HourlyUsage.requests == 0))
        days = {hour.replace(hour=0) for hour in hours}
        session.execute(sa.delete(DailyUsage).where(DailyUsage.day.in_(days), DailyUsage.requests == 0))


def _negative(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {name: -entry[name] for name in SUMS}


def _add_up(
    session: Session, table: type[HourlyUsage] | type[DailyUsage], moment: str, entries: Iterable[dict[str, Any]]
) -> None:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in entries:
        key = (entry[moment], *(entry[name] for name in _KIND))
        if (known := sums.get(key)) is None:
            sums[key] = dict(entry)
        else:
            known.update({name: known[name] + entry[name] for name in SUMS})
    statement = db.insert(session, table)
    added = {name: getattr(table, name) + statement.excluded[name] for name in SUMS}
    # Rows are always touched in the same order, so that two collectors cannot wait for each other.
    if in_order := [sums[key] for key in sorted(sums)]:
        session.execute(statement.on_conflict_do_update(index_elements=[moment, *_KIND], set_=added), in_order)


def _hourly(row: dict[str, Any]) -> dict[str, Any]:
    moment: datetime = row["occurred_at"]
    return {
        "hour": moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        "project_id": row["project_id"],
        "token_id": row["token_id"],
        "route": row["route"],
        "model": row["model"] or "",
        "status_class": row["status"] // 100,
        **{name: row[name] or 0 for name in SUMS if name not in _COUNTS},
        "requests": 1,
        "unpriced_requests": int(activity.is_unpriced(row)),
        "estimated_requests": int(row["is_estimate"]),
    }


def _daily(entry: dict[str, Any]) -> dict[str, Any]:
    hour: datetime = entry["hour"]
    return {name: value for name, value in entry.items() if name != "hour"} | {"day": hour.replace(hour=0)}


def _count(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    latest: dict[UUID, tuple[int, datetime]] = {}
    for row in rows:
        seen = (row["sequence"], row["occurred_at"])
        known = latest.get(row["token_id"], seen)
        latest[row["token_id"]] = (max(known[0], seen[0]), max(known[1], seen[1]))
    seen_last = [{"token": each, "sequence": latest[each][0], "moment": latest[each][1]} for each in sorted(latest)]
    if seen_last:
        session.connection().execute(_RAISE_COUNTERS, seen_last)  # The session has no tokens that it would change.
