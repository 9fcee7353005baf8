"""Puts usage events into SQL: each request once, sums by hour, tokens' counters, cut streams; in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from manager import audit
from manager.tables import HourlyUsage, Request, Token
from shared.models import UsageEvent

_KEY = ("hour", "project_id", "token_id", "route", "model", "status_class")
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "total_tokens", "request_bytes", "response_bytes")
_SUMS_AND_TIME = (*_SUMS, "duration_ms")
_PLAUSIBLE = range(2**31)


def request_row(event: UsageEvent) -> dict[str, Any]:
    """Return the columns of `requests` for an event; texts are cut to their columns.

    Raises ValueError if an id is not a UUID, a number is too large for its column, or the time has no zone.
    """
    row = {name: getattr(event, name) for name in UsageEvent.__slots__ if name != "usage"}
    row |= {name: _plausible(getattr(event.usage, name)) for name in _SUMS[1:4]}
    row |= {"project_id": UUID(event.project_id), "token_id": UUID(event.token_id), "outcome": event.outcome.value}
    row["upstream_key_id"] = UUID(event.upstream_key_id) if event.upstream_key_id else None
    return {column.name: _fitting(column, row[column.name]) for column in Request.__table__.columns}


def _plausible(count: int | None) -> int | None:
    # A provider may say anything; what it cannot mean must neither stop the collector nor spoil the sums.
    return count if count is not None and count in _PLAUSIBLE else None


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
    """Record request rows; those recorded before change nothing. Returns how many were new."""
    if not rows:
        return 0
    once = {row["request_id"]: row for row in rows}
    statement = _insert(session, Request).on_conflict_do_nothing().returning(Request.request_id)
    in_order = [once[request_id] for request_id in sorted(once)]
    new = [once[request_id] for request_id in session.scalars(statement, in_order)]
    _add_up(session, new)
    _count(session, new)
    audit.note_cuts(session, new)
    return len(new)


def _add_up(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        entry = _hourly(row)
        key = tuple(entry[name] for name in _KEY)
        known = sums.setdefault(key, entry)
        if known is not entry:
            known.update({name: known[name] + entry[name] for name in _SUMS_AND_TIME})
    statement = _insert(session, HourlyUsage)
    added = {name: getattr(HourlyUsage, name) + statement.excluded[name] for name in _SUMS_AND_TIME}
    # Rows are always touched in the same order, so that two collectors cannot wait for each other.
    if in_order := [sums[key] for key in sorted(sums)]:
        session.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=added), in_order)


def _hourly(row: dict[str, Any]) -> dict[str, Any]:
    moment: datetime = row["occurred_at"]
    return {
        "hour": moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        "project_id": row["project_id"],
        "token_id": row["token_id"],
        "route": row["route"],
        "model": row["model"] or "",
        "status_class": row["status"] // 100,
        "requests": 1,
        **{name: row[name] or 0 for name in _SUMS_AND_TIME[1:]},
    }


def _count(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    latest: dict[UUID, tuple[int, datetime]] = {}
    for row in rows:
        seen = (row["sequence"], row["occurred_at"])
        known = latest.get(row["token_id"], seen)
        latest[row["token_id"]] = (max(known[0], seen[0]), max(known[1], seen[1]))
    for token_id in sorted(latest):
        sequence, moment = latest[token_id]
        _raise_counter(session, token_id, Token.request_count, sequence)
        _raise_counter(session, token_id, Token.last_used_at, moment)


def _raise_counter(session: Session, token_id: UUID, column: Any, value: object) -> None:
    session.execute(
        sa.update(Token)
        .where(Token.id == token_id, sa.or_(column.is_(None), column < value))
        .values({column: value})
        .execution_options(synchronize_session=False)
    )


def _insert(session: Session, table: type[Request] | type[HourlyUsage]) -> "sqlite.Insert | postgresql.Insert":
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
