"""Rules of the command line: quick help, plain words for faults, and nothing started by a faulty call."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from manager import db, leases
from manager.cli import main
from shared import sealing, settings

COMMANDS = ["setup", "up", "doctor", "logs", "proxy", "drain", "reload", "manager", "jobs", "inspect", "chat"]
COMMANDS += ["openai", "benchmark", "project", "key", "token", "request", "price", "operator", "provider", "limits"]
COMMANDS += ["usage", "live", "flows", "status", "reconcile", "mock-provider", "db", "audit", "keys", "backup"]
COMMANDS += ["restore", "config", "completion"]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A complete environment in a folder of its own."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    return tmp_path


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"])

    assert shown.exit_code == 0
    assert [
        line.split()[0]
        for line in shown.output.splitlines()[shown.output.splitlines().index("Commands:") + 1 :]
        if line.startswith("  ") and line[2] != " "
    ] == COMMANDS


SUBCOMMANDS = ["audit verify", "audit export", "keys rotate", "keys status"]
SUBCOMMANDS += ["db upgrade", "db downgrade", "db status", "db copy"]


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(main, [*command.split(), "--help"])

    assert shown.exit_code == 0 and "Usage:" in shown.output and len(shown.output.splitlines()) > 4


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_help_loads_no_framework() -> None:
    code = (
        "import sys; from manager.cli import main; main(['--help'], standalone_mode=False);"
        "print([name for name in ('flask', 'sqlalchemy', 'mitmproxy', 'redis', 'alembic') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert shown.stdout.splitlines()[-1] == "[]", shown.stderr


def test_db_upgrade_migrates_the_database(configured: Path) -> None:
    shown = CliRunner().invoke(main, ["db", "upgrade"])

    assert shown.exit_code == 0 and "schema is current" in shown.output
    engine = db.create_engine(f"sqlite:///{configured}/llm-proxy.db")
    assert db.is_current(engine) and "tokens" in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_db_upgrade_of_a_database_that_is_away_says_why(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://llm:the-password@127.0.0.1:1/llm")

    shown = CliRunner().invoke(main, ["db", "upgrade"])

    assert shown.exit_code == 1 and shown.output.startswith("Error: DATABASE_URL: connection failed")
    assert "http" not in shown.output and "the-password" not in shown.output


@pytest.mark.parametrize("command", [["manager"], ["jobs"], ["db", "upgrade"]])
def test_every_faulty_variable_is_named_at_once(
    configured: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", "short")
    monkeypatch.delenv("ENCRYPTION_KEYS")
    monkeypatch.setenv("LLM_PROXY_LOG_LEVEL", "loud")

    shown = CliRunner().invoke(main, command)

    assert shown.exit_code == 2
    assert all(name in shown.output for name in ("MANAGEMENT_TOKEN", "ENCRYPTION_KEYS", "LLM_PROXY_LOG_LEVEL"))


@pytest.mark.parametrize(
    "options",
    [
        ["--behaviour", "{"],
        ["--behaviour", "[]"],
        ["--behaviour", '{"nonsense": 1}'],
        ["--error-rate", "2"],
        ["--port", "70000"],
        ["--latency-ms", "-1"],
    ],
)
def test_the_mock_provider_refuses_faulty_options(configured: Path, options: list[str]) -> None:
    shown = CliRunner().invoke(main, ["mock-provider", *options])

    assert shown.exit_code == 2 and shown.exception is not None and isinstance(shown.exception, SystemExit)


def test_once_without_a_demo_makes_no_sense(configured: Path) -> None:
    shown = CliRunner().invoke(main, ["up", "--once", "--no-demo"])

    assert shown.exit_code == 2 and "--once" in shown.output


def test_a_job_that_is_running_elsewhere_is_not_run_beside_it(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{configured}/database"
    monkeypatch.setenv("DATABASE_URL", url)
    db.migrate(url)
    engine = db.create_engine(url)

    with leases.held(db.create_sessions(engine), "job:forget"):
        beside = CliRunner().invoke(main, ["jobs", "--run", "forget"])
    alone = CliRunner().invoke(main, ["jobs", "--run", "forget"])
    engine.dispose()

    assert (beside.exit_code, alone.exit_code) == (1, 0)
    assert "forget is running just now, in " in beside.output and "Traceback" not in beside.output
