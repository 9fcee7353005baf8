"""A morning in a terminal: set up, start, talk, be interrupted and go on, and be refused when the token is revoked."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import settings
from tests.journeys.conftest import free_port
from tests.terminal import CTRL_C, CTRL_D, ENTER, Terminal

LLM_PROXY = str(Path(sys.executable).with_name("llm-proxy"))
MOCK_PROJECT = "demo (mock provider)"
WORDS = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
def variables() -> Iterator[dict[str, str]]:
    """An environment for an installation of its own, in a folder that is not there yet."""
    with tempfile.TemporaryDirectory(prefix="terminal-") as made:
        ports = {f"LLM_PROXY_{name}_PORT": str(free_port()) for name in ("PROXY", "MANAGER", "INSPECTOR", "METRICS")}
        own = {"LLM_PROXY_DATA_DIR": f"{made}/data", "LLM_PROXY_WORKERS": "2", "PROMPT_TOOLKIT_NO_CPR": "1"}
        yield settings.child_environment(None, {}) | ports | own


def told(variables: dict[str, str], *arguments: str) -> Any:
    """What a command tells programs."""
    run = subprocess.run([LLM_PROXY, *arguments, "--json"], env=variables, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def behave(variables: dict[str, str], **how: float) -> None:
    """Let the bundled provider answer so from now on."""
    url = told(variables, "project", "get", MOCK_PROJECT)["base_url"]
    requests.put(f"{url}/__mock__/behaviour", json=how, timeout=10).raise_for_status()


def say(chat: Terminal, text: str) -> None:
    """Type something at the next prompt."""
    chat.expect(">")
    chat.type(text + ENTER)


def test_from_nothing_to_a_refusal(variables: dict[str, str]) -> None:
    with Terminal([LLM_PROXY, "setup"], variables) as first:
        first.expect("Provider's key")
        first.type(ENTER)
        first.expect("export LLM_PROXY_TOKEN=")
        secret = first.expect(" ").strip()
        first.expect("Start everything now?")
        first.type("y" + ENTER)
        first.expect("Running until Ctrl-C.", 120)
        assert secret.startswith("sk-llmp-") and secret not in first.text.replace(secret, "", 1)

        again = told(variables, "setup")
        assert again["token"]["token"] is None and not any(step["is_new"] for step in again["steps"])

        with Terminal([LLM_PROXY, "chat"], variables | {"LLM_PROXY_TOKEN": secret}) as chat:
            chat.expect("/help shows what can be done.")
            behave(variables, chunk_interval_ms=300)
            say(chat, WORDS)
            chat.expect("You said: word0 word1")
            chat.type(CTRL_C)
            stopped = chat.expect("(stopped)")
            assert "word59" not in stopped.rpartition("You said:")[2]

            behave(variables)
            say(chat, "go on")
            chat.expect("You said: go on")
            say(chat, "/tokens")
            chat.expect("in 2 requests")

            told(variables, "token", "revoke", again["token"]["id"], "--yes")
            say(chat, "still there?")
            chat.expect("it has been revoked: ask for a new one")
            chat.expect(">")
            chat.type(CTRL_D)
            assert chat.ended() == 0

        first.type(CTRL_C)
        assert first.ended() == 0
    for file in Path(variables["LLM_PROXY_DATA_DIR"], "logs").iterdir():
        assert secret not in file.read_text(errors="replace")


def test_what_up_runs_is_drained_and_put_back(variables: dict[str, str]) -> None:
    told(variables, "setup")
    with Terminal([LLM_PROXY, "up"], variables) as first:
        first.expect("Running until Ctrl-C.", 120)
        [before] = told(variables, "drain", "--wait")
        assert before["phase"] == "drained" and told_status(variables)["here"] == [before]

        [after] = told(variables, "reload")

        assert (after["phase"], after["pid"]) == ("serving", before["pid"])
        [request] = told(variables, "request", "list")
        assert request["request_id"] in lines(variables, "logs", "proxy", "--request-id", request["request_id"])
        first.type(CTRL_C)
        assert first.ended() == 0


def test_an_interrupted_setup_is_gone_on_with(variables: dict[str, str]) -> None:
    with Terminal([LLM_PROXY, "setup", "--no-up"], variables) as interrupted:
        interrupted.expect("Provider's key")
        interrupted.type(CTRL_C)
        assert interrupted.ended() == 130

    with Terminal([LLM_PROXY, "setup", "--no-up"], variables) as again:
        again.expect("Provider's key")
        again.type("sk-typed-by-hand-0123456789" + ENTER)
        again.expect("Provider [openai]")
        again.type(ENTER)
        again.expect("Project [first project]")
        again.type("search team" + ENTER)
        assert again.ended() == 0
        assert "sk-typed" not in again.text and "made 'search team', of openai" in again.text
    assert os.listdir(variables["LLM_PROXY_DATA_DIR"])


def told_status(variables: dict[str, str]) -> Any:
    """The status, whatever it is."""
    run = subprocess.run([LLM_PROXY, "status", "--json"], env=variables, capture_output=True, text=True, timeout=60)
    return json.loads(run.stdout)


def lines(variables: dict[str, str], *arguments: str) -> str:
    """What a command shows."""
    return subprocess.run([LLM_PROXY, *arguments], env=variables, capture_output=True, text=True, timeout=60).stdout
