"""Rules of the database commands: the schema goes up and back, and tells where it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from manager import db
from manager.cli import main
from shared import sealing, settings

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

    assert before.exit_code == 1 and before.output.startswith("schema none, needed 0")
    assert "to be applied: 0001, 0002" in before.output and "db upgrade" in before.output
    assert after.exit_code == 0 and after.output.count("0004") == 2


def test_a_downgrade_asks_first(run: Run, empty_url: str) -> None:
    run("db", "upgrade")

    refused = run("db", "downgrade", "base", input="n\n")

    assert refused.exit_code == 1 and "tokens" in tables(empty_url)


def test_a_downgrade_takes_the_schema_back(run: Run, empty_url: str) -> None:
    run("db", "upgrade")

    shown = run("db", "downgrade", "0001", "--yes")

    assert shown.exit_code == 0 and "schema is at 0001" in shown.output
    assert "tokens" in tables(empty_url) and "prices" not in tables(empty_url)


@pytest.mark.parametrize("command", [("db", "upgrade"), ("db", "status")], ids=" ".join)
def test_a_database_of_a_later_release_is_told_in_plain_words(run: Run, empty_url: str, command: list[str]) -> None:
    run("db", "upgrade")
    engine = db.create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()

    shown = run(*command)

    assert shown.exit_code == 1 and shown.output.startswith("Error: this release does not know the schema's revision")
    assert "9999" in shown.output


# Copying


def test_a_copy_goes_where_the_variable_says(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("db", "upgrade")
    monkeypatch.setenv("LLM_PROXY_COPY_TO", f"sqlite:///{tmp_path}/copy.db")

    shown = run("db", "copy")

    assert shown.exit_code == 0 and "         0 tokens\n" in shown.output
    assert f"copied and verified; set DATABASE_URL to sqlite:///{tmp_path}/copy.db" in shown.output
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
    shown = run("db", "copy", *arguments)

    assert shown.exit_code == 2 and reason in shown.output and "the-password" not in shown.output


def test_a_copy_onto_itself_is_refused_since_it_is_not_empty(run: Run, empty_url: str) -> None:
    run("db", "upgrade")
    engine = db.create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO leases (name, holder, until) VALUES ('x', 'y', '2026-01-01 00:00:00')")
    engine.dispose()

    shown = run("db", "copy", "--to", empty_url)

    assert shown.exit_code == 1 and "the target is not empty: leases" in shown.output


def test_a_copy_of_another_schema_is_refused(run: Run, tmp_path: Path) -> None:
    shown = run("db", "copy", "--to", f"sqlite:///{tmp_path}/copy.db")

    assert shown.exit_code == 1 and "run `llm-proxy db upgrade`" in shown.output
