"""Fills a database for the management benchmark, mostly inside of the server: projects, tokens, requests, roll-ups."""

# ruff: noqa: S608 - all parts of these statements are this file's own

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from manager import db
from manager.tables import Project, Token, UpstreamKey, new_id
from manager.usage import SUMS
from tests.bench import management_activity

HOURS = 720
_NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
_SINCE = _NOW - timedelta(hours=HOURS)
_BATCH = 5000
# A % in a statement is one.
_PLAIN = {"no_parameters": True}
# Models are used unevenly: half of the requests are for the first one.
_MODELS = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "claude-sonnet-4")


@dataclass(frozen=True)
class Size:
    """How much there is. Of each project's tokens, so many are `busy`: they make the requests."""

    projects: int = 1000
    tokens: int = 100_000
    requests: int = 10_000_000
    busy: int = 2


def fill(url: str, size: Size) -> dict[str, Any]:
    """Fill; returns ids and moments that questions are asked with, and how many rows the roll-ups have."""
    engine = db.create_engine(url)
    sa.event.listen(engine, "connect", _hurry_sqlite if engine.dialect.name == "sqlite" else _hurry_postgresql)
    try:
        projects = _projects(engine, size)
        busy = _tokens(engine, size, projects)
        with engine.begin() as connection:
            _requests(connection, size, busy)
            rolled_up = _roll_up(connection)
            management_activity.fill(connection, _NOW)
        _analyse(engine)
    finally:
        engine.dispose()
    project, token = busy[len(busy) // 2]
    soon, since, until = _NOW + timedelta(days=2), _SINCE, _NOW
    moments = {"soon": soon.isoformat(), "since": since.isoformat(), "until": until.isoformat()}
    return {"project": str(project), "token": str(token), "rolled_up": rolled_up, **moments}


def _hurry_postgresql(connection: Any, _: Any) -> None:
    for setting in ("statement_timeout = 0", "synchronous_commit = off", "maintenance_work_mem = '1GB'"):
        connection.execute(f"SET {setting}")
    connection.commit()


def _hurry_sqlite(connection: Any, _: Any) -> None:
    # What is lost with the power is filled anew.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    management_activity.prepare_sqlite(connection)


def _projects(engine: sa.Engine, size: Size) -> list[Any]:
    rows = [
        {"id": new_id(), "name": f"team {number:05} {number * 7919 % 1000}", "provider": "openai"}
        | {"created_at": _SINCE, "updated_at": _SINCE, "published_version": 1}
        for number in range(size.projects)
    ]
    keys = [
        {"id": new_id(), "project_id": row["id"], "sealed": "v1.k1.sealed", "masked": "sk-…", "created_at": _SINCE}
        for row in rows
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(Project), rows)
        connection.execute(sa.insert(UpstreamKey), keys)
    return [row["id"] for row in rows]


def _tokens(engine: sa.Engine, size: Size, projects: list[Any]) -> list[tuple[Any, Any]]:
    busy = []
    for first in range(0, size.tokens, _BATCH):
        rows = [_token(number, projects) for number in range(first, min(first + _BATCH, size.tokens))]
        with engine.begin() as connection:
            connection.execute(sa.insert(Token), rows)
        busy += [(row["project_id"], row["id"]) for row in rows[: max(0, size.busy * size.projects - first)]]
    return busy


def _token(number: int, projects: list[Any]) -> dict[str, Any]:
    # One in 20 is revoked, one in 20 has expired, one in 50 is used up.
    scattered = number * 7919 % 100_000
    is_revoked, is_expired, is_used_up = number % 20 == 3, number % 20 == 7, number % 50 == 11
    created = _SINCE + timedelta(seconds=number)
    return {
        "id": new_id(),
        "project_id": projects[number % len(projects)],
        "label": f"service-{scattered}",
        "digest": f"{number:064x}",
        "masked": "sk-llmp-…",
        "is_active": not is_revoked,
        "revoked_at": _NOW if is_revoked else None,
        "expires_at": _NOW + timedelta(minutes=scattered * (-1 if is_expired else 1)),
        "max_requests": 1000 if number % 2 else None,
        "request_count": 1000 if is_used_up else scattered % 1000,
        "last_used_at": _NOW - timedelta(seconds=scattered * 20) if number % 3 else None,
        "published_version": 1,
        "created_at": created,
        "updated_at": created,
    }


def _requests(connection: sa.Connection, size: Size, busy: list[tuple[Any, Any]]) -> None:
    """Make requests in the server: scattered over the hours, the busy tokens and the models."""
    is_sqlite = connection.dialect.name == "sqlite"
    identifier = "CHAR(32)" if is_sqlite else "UUID"
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE busy (n INTEGER PRIMARY KEY, p {identifier}, t {identifier})")
    table = sa.table("busy", sa.column("n"), sa.column("p", sa.Uuid()), sa.column("t", sa.Uuid()))
    pairs = [{"n": number, "p": project, "t": token} for number, (project, token) in enumerate(busy)]
    connection.execute(sa.insert(table), pairs)
    indexes = _without_indexes(connection, "requests")
    connection.exec_driver_sql(_insert_requests(is_sqlite, size.requests, len(busy)), execution_options=_PLAIN)
    for statement in indexes:
        connection.exec_driver_sql(statement)


def _without_indexes(connection: sa.Connection, name: str) -> list[str]:
    """Drop a table's indexes; return what makes them again."""
    if connection.dialect.name == "sqlite":
        query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = '{name}' AND sql NOT NULL"
    else:
        is_primary = "indexname LIKE 'pk_%%'"
        query = f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{name}' AND NOT {is_primary}"
    found = connection.exec_driver_sql(query).all()
    for index, _ in found:
        connection.exec_driver_sql(f"DROP INDEX {index}")
    return [statement for _, statement in found]


def _insert_requests(is_sqlite: bool, count: int, busy: int) -> str:
    # Large primes scatter evenly, and the same way every time.
    numbers = (
        f"WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {count - 1})"
        if is_sqlite
        else f"WITH s(i) AS (SELECT generate_series(0, {count - 1}))"
    )
    start = _SINCE.strftime("%Y-%m-%d %H:%M:%S")
    seconds = f"(CAST(i AS BIGINT) * 7919 % {HOURS * 3600})"
    moment = (
        f"strftime('%Y-%m-%d %H:%M:%S.000000', '{start}', '+' || {seconds} || ' seconds')"
        if is_sqlite
        else f"TIMESTAMPTZ '{start}+00' + {seconds} * INTERVAL '1 second'"
    )
    model = f"CASE i % 4 {' '.join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(_MODELS))} END"
    false = "0" if is_sqlite else "FALSE"
    columns = {
        "request_id": "'r' || i",
        "occurred_at": moment,
        "recorded_at": moment,
        "project_id": "busy.p",
        "token_id": "busy.t",
        "sequence": "i",
        "provider": "'openai'",
        "route": "'chat.completions'",
        "method": "'POST'",
        "model": model,
        "status": "CASE i % 50 WHEN 0 THEN 429 ELSE 200 END",
        "outcome": "'finished'",
        "is_stream": false,
        "is_estimate": false,
        "chunks": "12",
        "request_bytes": "300",
        "response_bytes": "4000",
        "duration_ms": "50 + CAST(i AS BIGINT) * 31 % 8000",
        "first_byte_ms": "20 + CAST(i AS BIGINT) * 17 % 1000",
        "prompt_tokens": "i % 1000",
        "completion_tokens": "i % 300",
        "total_tokens": "i % 1000 + i % 300",
        "attempts": "1",
        "cost_nano_usd": "i % 100000",
    }
    chosen = f"busy.n = CAST(i AS BIGINT) * 104729 % {busy}"
    listed = f"INSERT INTO requests ({', '.join(columns)})"
    selected = f"SELECT {', '.join(columns.values())} FROM s JOIN busy ON {chosen}"
    return f"{listed} {numbers} {selected}" if is_sqlite else f"{numbers} {listed} {selected}"


def _roll_up(connection: sa.Connection) -> int:
    is_sqlite = connection.dialect.name == "sqlite"
    hour = (
        "strftime('%Y-%m-%d %H:00:00.000000', occurred_at)" if is_sqlite else "date_trunc('hour', occurred_at, 'UTC')"
    )
    counted = {"requests": "count(*)", "unpriced_requests": "0", "estimated_requests": "0"}
    sums = {name: counted.get(name, f"coalesce(sum({name}), 0)") for name in SUMS}
    keys = {"hour": hour, "project_id": "project_id", "token_id": "token_id", "route": "route", "model": "model"}
    keys["status_class"] = "status / 100"
    columns = {**keys, **sums}
    _copy(connection, "requests", "usage", columns, keys)
    day = "strftime('%Y-%m-%d 00:00:00.000000', hour)" if is_sqlite else "date_trunc('day', hour, 'UTC')"
    days = {"day": day, **{name: name for name in keys if name != "hour"}}
    _copy(connection, "usage", "usage_daily", {**days, **{name: f"sum({name})" for name in SUMS}}, days)
    return int(connection.scalar(sa.text("SELECT count(*) FROM usage")) or 0)


def _copy(connection: sa.Connection, source: str, target: str, columns: dict[str, str], keys: dict[str, str]) -> None:
    chosen = f"SELECT {', '.join(columns.values())} FROM {source} GROUP BY {', '.join(keys.values())}"
    connection.exec_driver_sql(f"INSERT INTO {target} ({', '.join(columns)}) {chosen}", execution_options=_PLAIN)


def _analyse(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
