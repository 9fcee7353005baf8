"""Keeps the rows that charts are drawn of: counts each request, forgets what is old, and what belonged to a project."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from manager import histogram
from manager.activity import ALL_PROJECTS, Measure, Unit
from manager.tables import Activity
from shared.models import Outcome, Usage

# How long each unit is kept; days are kept as long as the usage of days is, for good.
KEPT = {Unit.MINUTE: timedelta(days=2), Unit.HOUR: timedelta(days=60)}
# One statement for all rows of a batch, in the forms that the drivers take as they are: these are many.
_INSERT = "INSERT INTO activity (project_id, unit, measure, moment, bucket, amount)"
_ADD_UP = """ON CONFLICT (project_id, unit, measure, moment, bucket)
    DO UPDATE SET amount = activity.amount + excluded.amount"""
_KINDS = ("uuid", "text", "text", "timestamptz", "text", "bigint")
_UPSERT_SQLITE = f"{_INSERT} VALUES (?, ?, ?, ?, ?, ?) {_ADD_UP}"
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in _KINDS)
_UPSERT_POSTGRESQL = f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) {_ADD_UP}"  # noqa: S608 - our words

_TOKENS = tuple(name for name in Usage.__slots__ if name.endswith("_tokens"))

# Units and measures are plain texts here, since drivers are slow with what only resembles them.
type _Minutes = dict[tuple[UUID, datetime], dict[tuple[str, str], int]]
type _Amounts = dict[UUID, dict[tuple[str, str, datetime, str], int]]


def kind_of_end(row: Mapping[str, Any]) -> str:
    """Return the bucket of `outcome` that a row of `requests` belongs to."""
    status, is_finished = row["status"], row["outcome"] == Outcome.FINISHED
    if is_finished and 100 <= status < 400:
        return "ok"
    if row["error_code"]:
        return str(row["error_code"])
    if not is_finished or status < 100:
        return str(row["outcome"])
    if status == 429:
        return "provider_429"
    return "provider_4xx" if status < 500 else "provider_5xx"


def record(session: Session, rows: Iterable[Mapping[str, Any]], taken_back: Sequence[Mapping[str, Any]] = ()) -> None:
    """Count rows of `requests`, and those that they take the place of no more."""
    amounts = _summed_up(_by_minute(rows, taken_back))
    _add(session, amounts)
    if taken_back:
        moments = {unit.beginning(row["occurred_at"]) for row in taken_back for unit in Unit}
        _forget_empty(session, amounts, Activity.moment.in_(moments))


def _by_minute(rows: Iterable[Mapping[str, Any]], taken_back: Iterable[Mapping[str, Any]]) -> _Minutes:
    minutes: _Minutes = defaultdict(lambda: defaultdict(int))
    for sign, some in ((1, rows), (-1, taken_back)):
        for row in some:
            counts = minutes[row["project_id"], Unit.MINUTE.beginning(row["occurred_at"])]
            for measure, bucket, amount in _counted(row):
                counts[measure.value, bucket] += sign * amount
    return minutes


def _summed_up(minutes: _Minutes) -> _Amounts:
    amounts: _Amounts = defaultdict(lambda: defaultdict(int))
    for (project_id, minute), counts in minutes.items():
        for unit in Unit:
            moment = unit.beginning(minute)
            for owner in (project_id, ALL_PROJECTS):
                for (measure, bucket), amount in counts.items():
                    amounts[owner][unit.value, measure, moment, bucket] += amount
    return amounts


def _counted(row: Mapping[str, Any]) -> Iterator[tuple[Measure, str, int]]:
    yield Measure.OUTCOME, kind_of_end(row), 1
    yield Measure.DURATION, histogram.bucket_of(row["duration_ms"]), 1
    if row["first_byte_ms"] is not None:
        yield Measure.FIRST_BYTE, histogram.bucket_of(row["first_byte_ms"]), 1
    if row["prompt_tokens"]:
        yield Measure.TOKENS, "prompt", row["prompt_tokens"]
    if row["completion_tokens"]:
        yield Measure.TOKENS, "completion", row["completion_tokens"]
    if row["cost_nano_usd"]:
        yield Measure.COST, "nano_usd", row["cost_nano_usd"]
    if is_unpriced(row):
        yield Measure.COST, "unpriced", 1


def is_unpriced(row: Mapping[str, Any]) -> bool:
    """Tell whether a request used tokens, and nobody knows what they cost."""
    return row["cost_nano_usd"] is None and any(row[name] for name in _TOKENS)


def _add(session: Session, amounts: _Amounts) -> None:
    # Rows are always touched in the same order, so that two collectors cannot wait for each other; and those that all
    # of them touch at last, so that they wait for each other only shortly.
    rows = [
        (project_id, *key, of_project[key])
        for project_id, of_project in sorted(amounts.items())
        for key in sorted(of_project)
        if of_project[key]
    ]
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_UPSERT_SQLITE, _as_sqlite_keeps_them(rows))
    else:
        connection.exec_driver_sql(_UPSERT_POSTGRESQL, tuple(map(list, zip(*rows, strict=True))))


def _as_sqlite_keeps_them(rows: Iterable[tuple[UUID, str, str, datetime, str, int]]) -> list[tuple[Any, ...]]:
    moments = {row[3]: row[3].replace(tzinfo=None).isoformat(" ", "microseconds") for row in rows}
    return [(row[0].hex, row[1], row[2], moments[row[3]], row[4], row[5]) for row in rows]


def _forget_empty(session: Session, projects: Iterable[UUID], *conditions: "sa.ColumnElement[bool]") -> None:
    # What was counted by an earlier release, or was forgotten since, may be less than nothing now.
    session.execute(sa.delete(Activity).where(Activity.project_id.in_(projects), Activity.amount <= 0, *conditions))


def purge(session: Session, project_id: UUID) -> None:
    """Remove a project's rows, and what is in those of all projects together because of them."""
    part = aliased(Activity)
    keys = (Activity.unit, Activity.measure, Activity.moment, Activity.bucket)
    is_same = [column == getattr(part, column.key) for column in keys]
    statement = sa.update(Activity).values(amount=Activity.amount - part.amount)
    statement = statement.where(Activity.project_id == ALL_PROJECTS, part.project_id == project_id, *is_same)
    session.execute(statement.execution_options(synchronize_session=False))
    _forget_empty(session, [ALL_PROJECTS])
    session.execute(sa.delete(Activity).where(Activity.project_id == project_id))


def forget(session: Session, now: datetime, project_ids: Sequence[UUID]) -> int:
    """Delete rows of these projects that are older than their unit is kept; return how many."""
    forgotten = 0
    for unit, kept in KEPT.items():
        is_old = sa.and_(Activity.unit == unit, Activity.measure.in_(Measure), Activity.moment < now - kept)
        deleted: Any = session.execute(sa.delete(Activity).where(Activity.project_id.in_(project_ids), is_old))
        forgotten += deleted.rowcount
    return forgotten
