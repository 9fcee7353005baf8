"""Rules of `llm-proxy audit`: a broken chain fails the command, and an export is told in the audit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from manager import audit, db
from manager.cli import main
from manager.tables import AuditChain, AuditEvent
from shared import sealing, settings
from tests.manager.conftest import NOW


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[db.Sessions]:
    """An environment with a database of three events."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    engine = db.create_engine(f"sqlite:///{tmp_path}/llm-proxy.db")
    db.upgrade(engine)
    sessions = db.create_sessions(engine)
    with sessions.begin() as session:
        for actor in ("ann", "bob", "ann"):
            audit.note(session, NOW, audit.Source(actor), audit.Action.LOGIN, detail={"name": "équipe"})
    yield sessions
    engine.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments])


def end(shown: Result) -> str:
    """The end of the chain as it was told."""
    return shown.output.splitlines()[-1].rpartition(" ")[2]


def test_a_whole_audit_is_said_to_be_so_with_its_end(installed: db.Sessions) -> None:
    shown = run("verify")

    assert shown.exit_code == 0 and "4 events fit, from position 1 on" in shown.output
    with db.reading(installed) as session:
        record = session.scalars(sa.select(AuditChain)).one()
    assert shown.output.endswith(f"the audit is whole; its end is {record.chain_id}:4:{record.mac}\n")


def test_a_changed_row_fails_the_command_and_is_named(installed: db.Sessions) -> None:
    run("verify")
    with installed.begin() as session:
        session.execute(sa.update(AuditEvent).where(AuditEvent.position == 2).values(actor="eve"))
        event_id = session.scalar(sa.select(AuditEvent.id).where(AuditEvent.position == 2))

    shown = run("verify")

    assert shown.exit_code == 1 and "1 events fit" in shown.output
    assert f"Error: the audit is broken: The row at position 2 is not what was written there. (event {event_id})" in (
        shown.output
    )


def test_an_earlier_end_is_held_against_the_chain(installed: db.Sessions) -> None:
    anchor = end(run("verify"))
    assert run("verify", "--anchor", anchor).exit_code == 0
    with installed.begin() as session:
        session.execute(sa.delete(AuditChain))
        session.execute(sa.update(AuditEvent).values(position=None, chained_at=None, mac=None))

    assert run("verify").exit_code == 1
    assert run("verify", "--begin-anew").exit_code == 0
    assert run("verify").exit_code == 0
    assert run("verify", "--anchor", anchor).exit_code == 1
    assert run("verify", "--anchor", "nonsense").exit_code == 2


def test_events_that_cannot_be_chained_are_told(installed: db.Sessions) -> None:
    run("verify")
    with installed.begin() as session:
        session.execute(sa.update(AuditChain).values(position=2))
        audit.note(session, NOW, audit.Source("ann"), audit.Action.LOGIN)

    shown = run("verify")

    assert shown.exit_code == 1 and "1 events are not in the chain yet" in shown.output


def test_events_are_written_to_a_file_and_that_is_told(installed: db.Sessions, tmp_path: Path) -> None:
    shown = run("export", "--actor", "ann", "--output", str(tmp_path / "audit.jsonl"), "--until", "2026-05-05")

    assert shown.exit_code == 0 and shown.output == ""
    lines = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["actor"] for line in lines] == ["ann", "ann"] and "équipe" in lines[0]
    with db.reading(installed) as session:
        told = session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "audit.export")).one()
    assert told.actor == "command"
    assert told.detail == {"format": "jsonl", "actor": "ann", "until": "2026-05-05 00:00:00+00:00"}


def test_events_are_shown_on_the_screen_as_a_table(installed: db.Sessions) -> None:
    shown = run("export", "--format", "csv", "--from", "2026-05-04T10:20:30+0000", "--text", "BOB")

    assert shown.exit_code == 0 and [line.split(",")[4] for line in shown.output.splitlines()] == ["actor", "bob"]


def test_a_faulty_filter_is_refused(installed: db.Sessions) -> None:
    assert run("export", "--actor", "a\x01b").exit_code == 2
    assert run("export", "--from", "yesterday").exit_code == 2


def test_a_database_that_is_away_is_told(installed: db.Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://llm:the-password@127.0.0.1:1/llm")

    shown = run("verify")

    assert (
        shown.exit_code == 1 and shown.output.startswith("Error: DATABASE_URL:") and "the-password" not in shown.output
    )
