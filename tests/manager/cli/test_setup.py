"""Rules of `llm-proxy setup`: ready in one go, nothing made where something is wrong, and nothing made twice."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from manager import db, secrets_file
from manager.cli import main
from manager.single_machine import MOCK_PROJECT, own_folder
from manager.tables import AuditEvent, Project, Token, UpstreamKey
from shared import settings, tokens
from tests.ports import free_port

KEY = "sk-the-provider-gave-us-0123456789"

type Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Run:
    """Runs the command with free ports and nothing else of ours in its environment."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(folder))
    for name in ("PROXY", "MANAGER", "METRICS", "INSPECTOR"):
        monkeypatch.setenv(f"LLM_PROXY_{name}_PORT", str(free_port()))

    def run(*arguments: str, **more: Any) -> Result:
        before = os.umask(0o022)
        try:
            return CliRunner().invoke(main, list(arguments), **more)
        finally:
            os.umask(before)

    return run


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows(folder: Path, table: Any) -> list[Any]:
    engine = db.create_engine(f"sqlite:///{folder}/llm-proxy.db")
    with db.reading(db.create_sessions(engine)) as session:
        found = list(session.scalars(sa.select(table)))
    engine.dispose()
    return found


def test_from_nothing_there_is_a_token_that_is_shown_once(run: Run, folder: Path) -> None:
    shown = run("setup", "--non-interactive")

    assert shown.exit_code == 0, shown.output
    [line] = [line for line in shown.output.splitlines() if line.startswith("export LLM_PROXY_TOKEN=")]
    secret = line.split("=")[1].split()[0]
    [token], [project] = rows(folder, Token), rows(folder, Project)
    assert token.digest == tokens.digest(secret, secrets_file.read(folder)["TOKEN_PEPPER"].encode())
    assert (project.name, token.project_id, token.label) == (MOCK_PROJECT, project.id, "setup")
    assert secret not in run("setup", "--non-interactive").output
    assert {event.action for event in rows(folder, AuditEvent)} == {"project.create", "token.create"}


def test_what_is_made_is_for_its_owner_alone(run: Run, folder: Path) -> None:
    run("setup", "--non-interactive")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {
        file.name: oct(file.stat().st_mode & 0o077) for file in folder.iterdir() if file.stat().st_mode & 0o077
    } == {}


def test_a_second_run_leaves_all_as_it_is_and_says_so(run: Run, folder: Path) -> None:
    first, secrets = told(run("setup", "--json")), (folder / "secrets.env").read_bytes()

    second = told(run("setup", "--json"))

    assert (folder / "secrets.env").read_bytes() == secrets
    assert len(rows(folder, Project)) == len(rows(folder, Token)) == len(rows(folder, UpstreamKey)) == 1
    assert second["token"]["token"] is None and second["token"]["id"] == first["token"]["id"]
    assert [step["is_new"] for step in first["steps"]] == [True] * 4
    assert [step["is_new"] for step in second["steps"]] == [False] * 4


def test_a_real_key_is_sealed_and_replaced_by_no_later_one(run: Run, folder: Path) -> None:
    first = run("setup", "--non-interactive", "--project", "search", "--api-key-file", "-", input=f"{KEY}\n")
    sealed = rows(folder, UpstreamKey)[0].sealed

    again = run("setup", "--non-interactive", "--project", "search", "--api-key-file", "-", input="sk-another-0123456")

    assert (first.exit_code, again.exit_code) == (0, 0) and KEY not in first.output + again.output
    assert [project.name for project in rows(folder, Project)] == ["search"]
    assert [key.sealed for key in rows(folder, UpstreamKey)] == [sealed] and "key rotate" in again.output
    assert KEY.encode() not in b"".join(file.read_bytes() for file in folder.iterdir())


def test_without_a_key_a_project_that_is_there_is_enough(run: Run, folder: Path) -> None:
    run("setup", "--non-interactive", "--api-key-file", "-", input=KEY)

    assert told(run("setup", "--json"))["project"]["name"] == "first project"


def test_the_key_of_the_environment_is_taken_as_up_takes_it(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    assert told(run("setup", "--json"))["project"]["name"] == "first project"
    assert rows(folder, UpstreamKey)[0].masked == tokens.mask(KEY)


def test_another_token_is_made_when_the_first_one_is_gone(run: Run, folder: Path) -> None:
    told(run("setup", "--json"))
    engine = db.create_engine(f"sqlite:///{folder}/llm-proxy.db")
    with engine.begin() as connection:
        connection.execute(sa.update(Token).values(is_active=False))
    engine.dispose()

    assert told(run("setup", "--json"))["token"]["token"].startswith("sk-llmp-")


def test_an_installation_that_runs_is_no_obstacle(run: Run, folder: Path) -> None:
    told(run("setup", "--json"))

    with own_folder(folder):
        shown = run("setup", "--json")

    # Nobody answers, which is the fault; nothing else is.
    assert shown.exit_code == 1 and "is running and not ready" in shown.output


FAULTY = {
    "a lifetime of nothing": (["--expires-in", "soon"], "", "--expires-in"),
    "a life that is too long": (["--expires-in", "P4000D"], "", "expires_in"),
    "a provider that nobody knows": (["--provider", "nobody", "--api-key-file", "-"], KEY, "Unknown provider"),
    "our own token as a key": (["--api-key-file", "-"], tokens.generate(), "api_key"),
    "no key in the file": (["--api-key-file", "-"], "\n", "no api key"),
    "no such file": (["--api-key-file", "/nowhere"], "", "cannot be read"),
    "JSON, and going on": (["--json", "--up"], "", "--up"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_bad_input_makes_no_project(run: Run, folder: Path, case: str) -> None:
    options, text, reason = FAULTY[case]

    shown = run("setup", "--non-interactive", *options, input=text)

    assert (shown.exit_code, reason in shown.output) == (2, True), shown.output
    assert not (folder / "llm-proxy.db").exists() or rows(folder, Project) == []


def test_where_nobody_can_be_asked_it_says_how_to_go_on(run: Run, folder: Path) -> None:
    shown = run("setup", input="")

    assert shown.exit_code == 2 and "--non-interactive" in shown.output and not folder.exists()


@pytest.mark.parametrize("form", ["--non-interactive", "--json"])
def test_nothing_is_made_on_a_machine_that_is_not_ready(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        monkeypatch.setenv("LLM_PROXY_PROXY_PORT", str(foreign.getsockname()[1]))
        shown = run("setup", form)

    assert shown.exit_code == 1 and "LLM_PROXY_PROXY_PORT" in shown.output and not folder.exists()


def test_faulty_settings_are_named(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", "short")
    monkeypatch.setenv("LLM_PROXY_PROXY_PORT", "http")

    shown = run("setup", "--json")

    assert shown.exit_code == 2 and "MANAGEMENT_TOKEN" in shown.output and "LLM_PROXY_PROXY_PORT" in shown.output
    assert not folder.exists()


def test_one_port_for_two_services_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_PROXY_PORT", "7777")
    monkeypatch.setenv("LLM_PROXY_MANAGER_PORT", "7777")

    assert run("setup", "--json").exit_code == 2


def test_a_database_that_is_away_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://llm:the-password@127.0.0.1:1/llm")

    shown = run("setup", "--json")

    assert shown.exit_code == 1 and "DATABASE_URL: " in shown.output and "the-password" not in shown.output


def test_real_servers_are_used(run: Run, folder: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)

    assert told(run("setup", "--json"))["token"]["token"] and told(run("setup", "--json"))["token"]["token"] is None
    assert not (folder / "llm-proxy.db").exists()


@pytest.mark.parametrize(
    "command", [["db", "status"], ["keys", "status"], ["audit", "verify"], ["backup"], ["db", "upgrade"]]
)
def test_commands_of_this_machine_find_the_generated_secrets(run: Run, command: list[str]) -> None:
    run("setup", "--non-interactive")

    assert run(*command).exit_code == 0


def test_secrets_that_others_can_read_are_not_taken(run: Run, folder: Path) -> None:
    run("setup", "--non-interactive")
    (folder / "secrets.env").chmod(0o644)

    for command in (["db", "status"], ["setup", "--json"]):
        shown = run(*command)
        assert shown.exit_code == 1 and "readable by other users" in shown.output
