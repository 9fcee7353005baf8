"""Rules of the key commands and of starting: what does not open is told in plain words, before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from manager import db
from manager.cli import main
from manager.tables import UpstreamKey
from shared import sealing, settings
from shared.sealing import Keyring
from tests.manager.conftest import Rows
from tests.ports import free_port

OLD, NEW = sealing.generate_key(), sealing.generate_key()

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Run:
    """Runs a command with the given encryption keys."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))

    def run(keys: str, *arguments: str) -> Result:
        monkeypatch.setenv("ENCRYPTION_KEYS", keys)
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture
def old_key(rows: Rows) -> UpstreamKey:
    """A provider key that the old key has sealed."""
    [key] = rows.project("").keys
    rows.change(key, sealed=Keyring.parse(f"k1:{OLD}").seal("sk-the-provider-key", f"upstream_keys:{key.id}"))
    return key


def test_a_rotation_from_status_to_status(run: Run, old_key: UpstreamKey) -> None:
    ring = f"k2:{NEW},k1:{OLD}"

    before, rotated, after = run(ring, "keys", "status"), run(ring, "keys", "rotate"), run(ring, "keys", "status")

    assert before.output.splitlines()[:2] == [
        "k2: seals; nothing is sealed with it",
        "k1: opens; 1 in upstream_keys",
    ]
    assert (rotated.exit_code, rotated.output) == (0, "sealed with k2: 1 in upstream_keys\n")
    assert after.output.splitlines()[:2] == [
        "k2: seals; 1 in upstream_keys",
        "k1: opens; nothing is sealed with it",
    ]
    assert "1 projects have changes that are not published" in after.output
    assert run(f"k2:{NEW}", "keys", "status").exit_code == 0


def test_a_second_rotation_has_nothing_to_do(run: Run, old_key: UpstreamKey) -> None:
    run(f"k2:{NEW},k1:{OLD}", "keys", "rotate")

    assert run(f"k2:{NEW},k1:{OLD}", "keys", "rotate").output == "sealed with k2: nothing to do\n"


def test_a_missing_key_is_shown(run: Run, old_key: UpstreamKey) -> None:
    shown = run(f"k2:{NEW}", "keys", "status")

    assert shown.exit_code == 1 and "k1: MISSING; 1 in upstream_keys" in shown.output


def test_a_rotation_that_cannot_open_a_value_says_which(run: Run, old_key: UpstreamKey) -> None:
    shown = run(f"k2:{NEW}", "keys", "rotate")

    assert shown.exit_code == 1
    assert f"left as it is: upstream_keys:{old_key.id} is sealed with key id 'k1'" in shown.output


@pytest.mark.parametrize("service", ["manager", "jobs"])
def test_a_service_does_not_start_without_the_keys_that_its_database_needs(
    run: Run, old_key: UpstreamKey, service: str
) -> None:
    shown = run(f"k2:{NEW}", service)

    assert shown.exit_code == 2
    assert "ENCRYPTION_KEYS lacks keys that the database needs: 'k1' (1 values)" in shown.output
    assert NEW not in shown.output


def test_up_does_not_start_without_the_keys_that_its_database_needs(
    run: Run, old_key: UpstreamKey, monkeypatch: pytest.MonkeyPatch, valkey_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", valkey_url)
    for name in ("PROXY", "MANAGER", "METRICS"):
        monkeypatch.setenv(f"LLM_PROXY_{name}_PORT", str(free_port()))

    shown = run(f"k2:{NEW}", "up", "--no-demo")

    assert shown.exit_code == 2 and "'k1' (1 values)" in shown.output


def test_a_database_that_is_away_is_told_by_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://llm:the-password@127.0.0.1:1/llm")

    shown = run(f"k1:{OLD}", "keys", "status")

    assert shown.exit_code == 1 and shown.output.startswith("Error: DATABASE_URL: connection failed")
    assert "the-password" not in shown.output


def test_the_status_of_an_empty_ring_is_quiet(run: Run, sessions: db.Sessions) -> None:
    assert run(f"k1:{OLD}", "keys", "status").output == "k1: seals; nothing is sealed with it\n"
