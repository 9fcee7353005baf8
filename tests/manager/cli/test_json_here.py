"""Rules of --json on the commands of this machine's database: one JSON value on standard output, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from manager import db, secrets_file
from manager.cli import main
from manager.tables import AuditEvent
from shared import settings

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command on a migrated database, with generated secrets and nothing else of ours."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    secrets_file.ensure(tmp_path, secrets_file.NAMES)
    db.migrate(f"sqlite:///{tmp_path}/llm-proxy.db")
    return lambda *arguments: CliRunner().invoke(main, [*arguments, "--json"])


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_schema_is_told(run: Run) -> None:
    status = told(run("db", "status"))
    assert status["revision"] == status["needed"] and status["pending"] == []

    assert told(run("db", "downgrade", "base", "--yes")) == {"revision": "base"}
    behind = run("db", "status")
    assert behind.exit_code == 1 and json.loads(behind.stdout)["revision"] is None
    assert json.loads(behind.stdout)["pending"][-1] == status["needed"]
    assert told(run("db", "upgrade"))["is_current"] is True


def test_a_copy_tells_what_it_copied(run: Run, tmp_path: Path) -> None:
    copied = told(run("db", "copy", "--to", f"sqlite:///{tmp_path}/other.db"))

    assert copied["database_url"].endswith("/other.db") and isinstance(copied["rows"], dict)


def test_keys_are_told(run: Run) -> None:
    assert told(run("keys", "status")) == {
        "keys": [{"key": "k1", "state": "seals", "seals": {}}],
        "unpublished_projects": 0,
    }
    assert told(run("keys", "rotate")) == {"key": "k1", "sealed": {}, "left_as_it_is": []}


def test_a_backup_is_restored_by_what_it_tells(run: Run) -> None:
    made = told(run("backup"))
    assert made["bytes"] == Path(made["file"]).stat().st_size and made["is_encrypted"] is True

    tried = told(run("restore", made["file"], "--dry-run", "--replace"))
    assert tried["is_restored"] is False
    done = told(run("restore", made["file"], "--replace"))
    assert (done["is_restored"], done["rows"], done["schema"]) == (True, made["rows"], tried["schema"])


def test_an_audit_is_told_to_be_whole_or_not(run: Run, tmp_path: Path) -> None:
    told(run("backup"))  # Which the audit has.
    whole = told(run("audit", "verify", "--begin-anew"))
    assert whole["is_whole"] and whole["fault"] is None and whole["anchor"].count(":") == 2

    engine = db.create_engine(f"sqlite:///{tmp_path}/llm-proxy.db")
    with engine.begin() as connection:
        connection.execute(sa.update(AuditEvent).values(actor="somebody else"))
    engine.dispose()
    broken = run("audit", "verify")

    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["is_whole"] is False and json.loads(broken.stdout)["fault"]["reason"]
