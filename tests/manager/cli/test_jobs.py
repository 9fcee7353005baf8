"""`llm-proxy jobs --run`: one periodic job, now, and its report."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from manager import db
from manager.cli import main
from manager.tables import JobRun, Token
from tests.manager.cli.test_cli import configured as configured  # a fixture
from tests.manager.conftest import NOBODY, NOW, Rows


@pytest.fixture
def stores(
    configured: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str, database_url: str, redis_client: redis.Redis
) -> None:
    """The command speaks to the stores of these tests."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", database_url)


def run(name: str) -> Result:
    return CliRunner().invoke(main, ["jobs", "--run", name])


@pytest.mark.usefixtures("stores")
def test_a_job_runs_once_and_its_report_is_printed(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project()
    rows.token(project, expires_at=NOW - timedelta(days=365))
    rows.token(project, digest="d2")

    shown = run("expired_tokens")

    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output.splitlines()[-1])["projects"] == {
        str(project.id): {"name": "search team", "tokens": 1}
    }
    assert [token.digest for token in rows.all(Token)] == ["d2"]
    assert [(row.name, row.outcome) for row in rows.all(JobRun)] == [("expired_tokens", "success")]


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("name", ["forget", "reconcile", "refusals", "key_probe"])
def test_each_job_can_be_run_on_empty_stores(name: str) -> None:
    assert run(name).exit_code == 0


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("name", ["nonsense", "export"], ids=["unknown", "switched off"])
def test_a_job_that_there_is_not_is_refused_and_the_others_are_named(name: str) -> None:
    shown = run(name)

    assert shown.exit_code == 2 and "expired_tokens" in shown.output


@pytest.mark.usefixtures("stores")
def test_a_job_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    monkeypatch.setenv("REDIS_URL", NOBODY)

    shown = run("refusals")

    assert shown.exit_code == 1 and "refusals: " in shown.output
    assert [row.outcome for row in rows.all(JobRun)] == ["failure"]
