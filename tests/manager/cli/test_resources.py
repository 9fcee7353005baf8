"""Rules of the commands that ask the API: the same verbs for everything, one way to fail, no secret but a new one."""

import json
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import make_server

from manager.cli import main
from shared import settings
from tests.flow_records import ended, request_id, tell
from tests.manager.conftest import MANAGEMENT_TOKEN

type Run = Callable[..., Result]


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    """The URL of a management service that listens."""
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in an environment without any of our variables, but for an empty data folder."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, list(arguments), **more)

    return run


@pytest.fixture
def run(bare: Run, served: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command against the service, as an admin."""
    monkeypatch.setenv("LLM_PROXY_MANAGER_URL", served)
    monkeypatch.setenv("LLM_PROXY_OPERATOR_TOKEN", MANAGEMENT_TOKEN)
    return bare


def told(result: Result) -> Any:
    """What a command printed as JSON."""
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def make_project(run: Run, name: str = "search team") -> str:
    made = run("project", "create", "--name", name, "--api-key-file", "-", "--json", input="sk-the-providers-key\n")
    return str(told(made)["id"])


def test_a_project_lives(run: Run) -> None:
    project = make_project(run)

    assert [row["name"] for row in told(run("project", "list", "--json"))] == ["search team"]
    assert told(run("project", "get", "search team", "--json"))["id"] == project
    changed = told(run("project", "update", project, "--name", "search", "--no-active", "--json"))
    assert (changed["name"], changed["is_active"]) == ("search", False)
    assert told(run("project", "activate", "search", "--json"))["is_active"] is True
    assert run("project", "delete", "search", "--yes").exit_code == 0
    assert told(run("project", "list", "--json")) == []


def test_a_token_lives(run: Run) -> None:
    make_project(run)

    made = told(
        run("token", "create", "--project", "search team", "--expires-in", "P1D", "--label", "nightly", "--json")
    )
    listed = run("token", "list", "--project", "search team", "--state", "active")

    assert made["token"].startswith("sk-llmp-")
    assert "nightly" in listed.output and made["token"] not in listed.output
    changed = told(run("token", "update", made["id"], "--max-requests", "5", "--json"))
    assert changed["max_requests"] == 5
    assert told(run("token", "update", made["id"], "--max-requests", "none", "--json"))["max_requests"] is None
    assert told(run("token", "refresh", made["id"], "--grace", "PT1H", "--json"))["token"] != made["token"]
    assert run("token", "revoke", made["id"], "--yes").output == f"{made['id']}: done\n"
    assert told(run("token", "get", made["id"], "--json"))["state"] == "revoked"


def test_a_key_lives(run: Run, tmp_path: Path) -> None:
    make_project(run)
    file = tmp_path / "key"
    file.write_text("sk-another-key-of-theirs\n")

    made = told(
        run("key", "create", "--project", "search team", "--api-key-file", str(file), "--weight", "3", "--json")
    )

    assert made["weight"] == 3 and "another" not in json.dumps(made)
    assert len(told(run("key", "list", "--project", "search team", "--json"))) == 2
    rotated = run(
        "key", "rotate", made["id"], "--project", "search team", "--api-key-file", "-", input="sk-the-next-0001"
    )
    assert rotated.exit_code == 0 and "sk-the-next" not in rotated.output
    assert run("key", "delete", made["id"], "--project", "search team", "--yes").exit_code == 0


def test_operators_and_prices_live(run: Run) -> None:
    operator = told(run("operator", "create", "--name", "ops", "--role", "auditor", "--json"))
    price = told(run("price", "create", "--provider", "openai", "--model", "m-*", "--prompt", "2.5", "--json"))

    assert operator["token"].startswith("llmp-op-")
    assert told(run("operator", "update", operator["id"], "--role", "operator", "--json"))["role"] == "operator"
    assert "m-*" in run("price", "list", "--provider", "openai").output
    assert run("price", "delete", price["id"], "--yes").exit_code == 0
    assert run("operator", "revoke", operator["id"], "--yes").exit_code == 0


def test_reports_are_told(run: Run) -> None:
    make_project(run)

    assert told(run("usage", "--by", "model", "--json"))["items"] == []
    assert run("usage", "--by", "day").output == "No usage.\n"
    assert [each["measure"] for each in _set_limits(run)["limits"]] == ["cost"]
    assert "cost" in run("limits", "get").output
    assert "openai" in run("provider", "list").output
    assert "/v1/chat/completions" in run("provider", "get", "openai").output
    assert told(run("live", "list", "--json"))["items"] == []
    assert "project.create" in run("audit", "list", "--action", "project.create").output
    event = told(run("audit", "list", "--action", "project.create", "--json"))[0]
    assert told(run("audit", "get", event["id"], "--json"))["action"] == "project.create"
    assert run("request", "list").output == "No requests that were admitted.\n"
    assert "control plane" in run("status").output


def _set_limits(run: Run) -> Any:
    wanted = '[{"measure": "cost", "window": "day", "amount": "50.00"}]'
    return told(run("limits", "update", wanted, "--yes", "--json"))


def test_flows_are_shown_and_exported(run: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    tell(redis_client, ended(1))
    file = tmp_path / "evidence.zip"

    assert request_id(1) in run("flows", "list").output
    assert '"hi"' in run("flows", "get", request_id(1)).output
    exported = told(run("flows", "export", "--request", request_id(1), "--output", str(file), "--json"))
    assert exported["sha256"] == sha256(file.read_bytes()).hexdigest() and file.stat().st_mode & 0o077 == 0
    again = run("flows", "export", "--output", str(file))
    assert again.exit_code == 2 and "cannot be written" in again.output


REFUSED = {
    "unknown id": (["token", "get", "00000000-0000-0000-0000-000000000000"], 4, "Hint: see the ids with `list`"),
    "unknown project": (["token", "list", "--project", "nobody's"], 2, "There is no project"),
    "bad value": (["project", "create", "--name", "", "--api-key-file", "-"], 2, "name"),
    "nothing to change": (["project", "update", "search team"], 2, "Nothing is to be changed"),
    "no JSON": (["project", "update", "search team", "--policy", "{"], 2, "is no JSON"),
    "nobody to ask": (["project", "delete", "search team"], 2, "add --yes"),
    "not in flight": (["live", "cut", "0123"], 4, "in flight"),
    "no number": (["token", "update", "x", "--max-requests", "many"], 2, "neither a whole number nor none"),
    "no such file": (["key", "create", "--project", "search team", "--api-key-file", "/nowhere"], 2, "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_in_a_line(run: Run, case: str) -> None:
    make_project(run)
    arguments, code, reason = REFUSED[case]

    result = run(*arguments, input="sk-the-providers-key")

    assert (result.exit_code, reason in result.output) == (code, True), result.output
    assert "Traceback" not in result.output


def test_a_token_that_is_not_known_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_OPERATOR_TOKEN", "a token that nobody made for this")

    result = run("project", "list")

    assert result.exit_code == 4 and "LLM_PROXY_OPERATOR_TOKEN" in result.output
    assert "nobody made" not in result.output


def test_a_service_that_is_away_is_another_matter(bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_OPERATOR_TOKEN", MANAGEMENT_TOKEN)

    result = bare("project", "list", "--url", "http://127.0.0.1:1")

    assert result.exit_code == 3 and "cannot be reached" in result.output


def test_without_a_token_it_says_how_to_give_one(bare: Run) -> None:
    result = bare("project", "list")

    assert result.exit_code == 2 and "LLM_PROXY_OPERATOR_TOKEN" in result.output


def test_the_generated_token_of_this_machine_is_enough(bare: Run, served: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text(f"MANAGEMENT_TOKEN={MANAGEMENT_TOKEN}\n")
    file.chmod(0o600)

    assert bare("project", "list", "--url", served).output == "No projects.\n"
    file.chmod(0o644)
    assert bare("project", "list", "--url", served).exit_code == 2


def test_settings_are_shown_without_secrets(bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", MANAGEMENT_TOKEN)

    shown = bare("config", "show", "--for", "manager", "--json")

    [row] = [row for row in told(shown) if row["name"] == "MANAGEMENT_TOKEN"]
    assert row["source"] == "environment" and MANAGEMENT_TOKEN not in shown.output
    assert "LLM_PROXY_PROXY_PORT" in bare("config", "show").output


def test_faulty_settings_are_told_all_at_once(bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bare("config", "validate").output == "No faults.\n"
    monkeypatch.setenv("LLM_PROXY_LOG_LEVEL", "loud")
    monkeypatch.setenv("LLM_PROXY_WORKERS", "-3")

    result = bare("config", "validate")

    assert result.exit_code == 1 and {"LLM_PROXY_LOG_LEVEL", "LLM_PROXY_WORKERS"} <= set(
        result.output.replace(":", "").split()
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(bare: Run, shell: str) -> None:
    assert "_LLM_PROXY_COMPLETE" in bare("completion", shell).output
