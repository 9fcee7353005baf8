"""Rules of the database commands: the schema goes up and back, and tells where it is."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from manager import db, tombstones
from manager.cli import main
from manager.cli.database import shown
from shared import sealing, settings
from tests.conftest import new_postgresql

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_url: str) -> Run:
    """Runs a command on a database without any table, with a complete environment."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", empty_url)
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    return lambda *arguments, **options: CliRunner().invoke(main, list(arguments), **options)


def tables(url: str) -> set[str]:
    engine = db.create_engine(url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_the_status_tells_what_is_to_be_applied(run: Run) -> None:
    before = run("db", "status")
    run("db", "upgrade")
    after = run("db", "status")

    newest = before.output.removeprefix("schema none, needed ")[:4]
    assert before.exit_code == 1 and before.output.startswith("schema none, needed 0")
    assert "to be applied: 0001, 0002" in before.output and "db upgrade" in before.output
    assert after.exit_code == 0 and after.output.count(newest) == 2


def test_a_downgrade_asks_first(run: Run, empty_url: str) -> None:
    run("db", "upgrade")

    refused = run("db", "downgrade", "base", input="n\n")

    assert refused.exit_code == 130 and "tokens" in tables(empty_url)


def test_a_downgrade_takes_the_schema_back(run: Run, empty_url: str) -> None:
    run("db", "upgrade")

    done = run("db", "downgrade", "0001", "--yes")

    assert done.exit_code == 0 and "schema is at 0001" in done.output
    assert "tokens" in tables(empty_url) and "prices" not in tables(empty_url)


def test_a_downgrade_waits_until_redis_has_heard_of_what_was_purged(run: Run, empty_url: str) -> None:
    run("db", "upgrade")
    engine = db.create_engine(empty_url)
    with db.create_sessions(engine).begin() as session:
        tombstones.add(session, "token", UUID(int=7), 2, datetime(2026, 5, 4, tzinfo=UTC), "d1")

    refused, kept = run("db", "downgrade", "0003", "--yes"), tables(empty_url)
    with db.create_sessions(engine).begin() as session:
        tombstones.remove(session, [UUID(int=7)])
    engine.dispose()

    assert refused.exit_code == 1 and "Redis has not heard of 1 purged projects and tokens" in refused.output
    assert "tombstones" in kept and run("db", "downgrade", "0003", "--yes").exit_code == 0


@pytest.mark.parametrize("command", [("db", "upgrade"), ("db", "status")], ids=" ".join)
def test_a_database_of_a_later_release_is_told_in_plain_words(run: Run, empty_url: str, command: list[str]) -> None:
    run("db", "upgrade")
    engine = db.create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()

    said = run(*command)

    assert said.exit_code == 1 and said.output.startswith("Error: this release does not know the schema's revision")
    assert "9999" in said.output


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://llm:hunter2@db.example/llm",
        "postgresql://llm@db.example/llm?sslmode=require&password=hunter2",
        "postgresql://llm@db.example/llm?sslkey=k&sslpassword=hunter2&SSLPASSWORD=hunter2",
        "postgresql://db.example/llm?password=a&password=hunter2",
        "postgresql://db.example/llm?oauth_client_secret=hunter2",
    ],
    ids=["authority", "password", "sslpassword", "twice", "oauth"],
)
def test_a_url_is_shown_without_its_passwords(url: str) -> None:
    found = shown(url)

    assert "hunter2" not in found and "***" in found and "db.example/llm" in found


@pytest.mark.parametrize("url", ["sqlite:////data/x.db", "postgresql://llm@db.example/llm?sslmode=require"])
def test_a_url_without_passwords_is_shown_as_it_is(url: str) -> None:
    assert shown(url) == url


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The options that connections to PostgreSQL were made with."""
    found: list[str] = []

    def listen(_: object, __: object, ___: object, arguments: dict[str, str]) -> None:
        found.append(arguments.get("options", ""))

    sa.event.listen(sa.Engine, "do_connect", listen)
    yield found
    sa.event.remove(sa.Engine, "do_connect", listen)


@pytest.mark.parametrize(
    "command",
    [("db", "upgrade"), ("db", "copy"), ("audit", "verify"), ("reconcile", "--check"), ("backup",)],
    ids=" ".join,
)
def test_every_command_tunes_postgresql_as_the_settings_say(
    run: Run, monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str, told: list[str], command: list[str]
) -> None:
    source, target = (new_postgresql(postgres_url, f"tuned_{number}") for number in range(2))
    db.migrate(source)
    for name, value in {"DATABASE_URL": source, "LLM_PROXY_COPY_TO": target, "REDIS_URL": valkey_url}.items():
        monkeypatch.setenv(name, value)
    for name in ("STATEMENT", "LOCK"):
        monkeypatch.setenv(f"LLM_PROXY_DB_{name}_TIMEOUT", "0")
    told.clear()

    run(*command)

    assert told and set(told) == {""}


# Copying


def test_a_copy_goes_where_the_variable_says(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("db", "upgrade")
    monkeypatch.setenv("LLM_PROXY_COPY_TO", f"sqlite:///{tmp_path}/copy.db")

    said = run("db", "copy")

    assert said.exit_code == 0 and "         0 tokens\n" in said.output
    assert f"copied and verified; set DATABASE_URL to sqlite:///{tmp_path}/copy.db" in said.output
    assert "tokens" in tables(f"sqlite:///{tmp_path}/copy.db")


def test_a_copy_goes_where_the_option_says(run: Run, tmp_path: Path) -> None:
    run("db", "upgrade")

    assert run("db", "copy", "--to", f"sqlite:///{tmp_path}/copy.db").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "set LLM_PROXY_COPY_TO"),
        (["--to", "postgresql://llm:the-password@db.example/llm"], "others on this machine can read arguments"),
        (["--to", "nonsense"], "--to is no URL"),
    ],
    ids=["no target", "a password", "no URL"],
)
def test_a_copy_needs_a_target_without_a_password_in_the_arguments(run: Run, arguments: list[str], reason: str) -> None:
    said = run("db", "copy", *arguments)

    assert said.exit_code == 2 and reason in said.output and "the-password" not in said.output


def test_a_copy_onto_itself_is_refused_since_it_is_not_empty(run: Run, empty_url: str) -> None:
    run("db", "upgrade")
    engine = db.create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO leases (name, holder, until) VALUES ('x', 'y', '2026-01-01 00:00:00')")
    engine.dispose()

    said = run("db", "copy", "--to", empty_url)

    assert said.exit_code == 1 and "the target is not empty: leases" in said.output


def test_a_copy_of_another_schema_is_refused(run: Run, tmp_path: Path) -> None:
    said = run("db", "copy", "--to", f"sqlite:///{tmp_path}/copy.db")

    assert said.exit_code == 1 and "run `llm-proxy db upgrade`" in said.output
