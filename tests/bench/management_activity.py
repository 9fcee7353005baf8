"""Fills what charts are drawn of for the management benchmark, out of its requests, inside of the server."""

# ruff: noqa: S608 - all parts of these statements are this file's own

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from manager import histogram
from manager.activity import ALL_PROJECTS

# Hours are asked for by charts of a week at most.
_HOURS = timedelta(days=8)
_COLUMNS = "project_id, unit, measure, moment, bucket, amount"


def prepare_sqlite(connection: Any) -> None:
    """Make a connection know the buckets of durations."""
    connection.create_function("bucket_of", 1, histogram.bucket_of, deterministic=True)


def fill(connection: sa.Connection, until: datetime) -> None:
    """Count all requests by day, and the latest by hour, for each project and for all together."""
    is_sqlite = connection.dialect.name == "sqlite"
    since = f"'{until - _HOURS:%Y-%m-%d %H:%M:%S}{'.000000' if is_sqlite else '+00'}'"
    for unit, condition in (("day", "1 = 1"), ("hour", f"occurred_at >= {since}")):
        moment = _beginning(unit, is_sqlite)
        for measure, bucket, amount in _measures(is_sqlite):
            chosen = f"SELECT project_id, '{unit}', '{measure}', {moment}, {bucket}, {amount}"
            _insert(connection, f"{chosen} FROM requests WHERE {condition} GROUP BY project_id, {moment}, {bucket}")
    everybody = f"'{ALL_PROJECTS.hex}'" if is_sqlite else f"'{ALL_PROJECTS}'::uuid"
    chosen = f"SELECT {everybody}, unit, measure, moment, bucket, sum(amount)"
    _insert(connection, f"{chosen} FROM activity GROUP BY unit, measure, moment, bucket")


def _beginning(unit: str, is_sqlite: bool) -> str:
    if is_sqlite:
        return f"strftime('%Y-%m-%d {'%H' if unit == 'hour' else '00'}:00:00.000000', occurred_at)"
    return f"date_trunc('{unit}', occurred_at, 'UTC')"


def _measures(is_sqlite: bool) -> list[tuple[str, str, str]]:
    # Nothing can be grouped by a plain text.
    return [
        ("outcome", "CASE status WHEN 429 THEN 'provider_429' ELSE 'ok' END", "count(*)"),
        ("duration", _bucket("duration_ms", is_sqlite), "count(*)"),
        ("first_byte", _bucket("first_byte_ms", is_sqlite), "count(*)"),
        ("tokens", "CAST('prompt' AS TEXT)", "sum(prompt_tokens)"),
        ("tokens", "CAST('completion' AS TEXT)", "sum(completion_tokens)"),
        ("cost", "CAST('nano_usd' AS TEXT)", "sum(cost_nano_usd)"),
    ]


def _bucket(column: str, is_sqlite: bool) -> str:
    if is_sqlite:
        return f"bucket_of({column})"
    return f"lpad(floor(ln({column}) / ln(2.0::float8) * {histogram.PER_DOUBLING})::int::text, 3, '0')"


def _insert(connection: sa.Connection, chosen: str) -> None:
    statement = f"INSERT INTO activity ({_COLUMNS}) {chosen}"
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
