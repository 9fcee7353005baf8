"""Rows for every table, with every kind of value that a column can hold; the same rows every time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from manager.tables import Base
from shared.inspection import Capture, Hidden, Inspection
from shared.models import Limit, Measure, Policy, Window

TABLES = Base.metadata.sorted_tables
_TIME = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
_TEXTS = ["", "a\tb\\n\n'\"\x7f", "Zürich 🦉 עברית", "x,y;{}", "\\N"]
_INTEGERS = [0, 1, -1, 2**31 - 1]
_BIG = [2**62, -(2**62), 0, 2**53 + 1]
_FLOATS = [0.1, 1e-300, 123456.789012345, -0.0]
_VALUES: dict[type, list[Any]] = {
    Policy: [Policy(), Policy(allowed_models=("gpt-5*", "Zürich"))],
    Inspection: [Inspection(), Inspection(Capture.SAMPLED, 0.5, 0, (Hidden.EMAILS,), ("a[*].b",), (r"\d",))],
    tuple: [(), (Limit(Measure.REQUESTS, Window.LIFE, 2**53),)],
    list: [[], ["https://a.example"]],
    dict: [{}, {"before": {"name": "🦉", "n": None, "x": [1, 2.5, "\x00"]}, "after": True}],
}


def fill(connection: sa.Connection, count: int = 1, **given: Any) -> None:
    """Put rows into every table; `given` columns have these values wherever they are."""
    for table in TABLES:
        connection.execute(sa.insert(table), [row(table, number) | _only(table, given) for number in range(count)])


def row(table: sa.Table, number: int) -> dict[str, Any]:
    """The row of this number of a table; rows of the same number belong together."""
    return {column.name: _value(column, number) for column in table.columns}


def counts(connection: sa.Connection) -> dict[str, int]:
    """How many rows each table has that is there."""
    there = sa.inspect(connection).get_table_names()
    found = [name for name in there if name != "alembic_version"]
    return {name: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0 for name in found}


def contents(connection: sa.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything, as the mapping reads it."""
    return {table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr) for table in TABLES}


def _only(table: sa.Table, given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in table.columns}


def _value(column: sa.Column[Any], number: int) -> Any:
    if column.nullable and number % 3 == 2:
        return None
    if isinstance(column.type, sa.Uuid):
        return UUID(int=(0x018F << 112) + number)
    if column.primary_key or column.unique or column.name in ("digest", "previous_digest", "position", "key"):
        return number if isinstance(column.type, sa.Integer) else _time(column, number) or f"{column.name} {number}"
    if isinstance(column.type, sa.BigInteger):
        return _BIG[number % len(_BIG)]
    kind = column.type.python_type if not isinstance(column.type, sa.types.TypeDecorator) else None
    if kind is bool:
        return bool(number % 2)
    if kind is int:
        return _INTEGERS[number % len(_INTEGERS)]
    if kind is float:
        return _FLOATS[number % len(_FLOATS)]
    if kind is str:
        return _TEXTS[number % len(_TEXTS)]
    return _time(column, number) or _of(column, number)


def _time(column: sa.Column[Any], number: int) -> datetime | None:
    is_time = isinstance(column.type, sa.types.TypeDecorator) and isinstance(column.type.impl_instance, sa.DateTime)
    return _TIME + timedelta(hours=number) if is_time else None


def _of(column: sa.Column[Any], number: int) -> Any:
    by_name = {"policy": Policy, "limits": tuple, "value": tuple, "detail": dict, "report": dict, "features": dict}
    by_name["inspection"] = Inspection
    kind = by_name.get(column.name, list)
    values = _VALUES[kind]
    return values[number % len(values)] if column.name != "features" else {"x": bool(number % 2)}
