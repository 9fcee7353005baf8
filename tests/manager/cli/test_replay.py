"""Rules of using recorded flows again: only what is whole and not hidden goes out, and as any other request."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import make_server

from manager.cli import main
from manager.mock_provider import serving
from shared import settings
from shared.flow_schema import Message
from tests.flow_records import JSON, ended, request_id, tell
from tests.manager.conftest import MANAGEMENT_TOKEN, one_database
from tests.ports import accepts, free_port

TOKEN = "sk-stands-for-a-token-0123"
pytestmark = one_database

type Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs the command against a service, with a provider in the proxy's place."""
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    with serving(accepted_keys=[TOKEN]) as provider:
        given = {"LLM_PROXY_MANAGER_URL": f"http://127.0.0.1:{server.server_port}", "LLM_PROXY_PUBLIC_URL": provider}
        given |= {"LLM_PROXY_OPERATOR_TOKEN": MANAGEMENT_TOKEN, "LLM_PROXY_TOKEN": TOKEN}
        for name, value in {**given, "LLM_PROXY_DATA_DIR": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        yield lambda *arguments: CliRunner().invoke(main, ["flows", *arguments])
    server.shutdown()
    thread.join()
    server.server_close()


def chat(text: str) -> dict[str, Any]:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    return {"request": Message(JSON, len(body), body)}


def test_a_recorded_request_is_sent_once_more(run: Run, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1, url="https://eu.example.org/llm/v1/chat/completions", **chat("good morning")))

    told = json.loads(run("replay", request_id(1), "--model", "other", "--json").stdout)

    answer = json.loads(told["answer"])
    assert (told["status"], answer["model"]) == (200, "other")
    assert answer["choices"][0]["message"]["content"] == "You said: good morning"


FAULTY: dict[str, tuple[dict[str, Any], int, str]] = {
    "not recorded": ({"request": Message([], 9, None)}, 2, "not recorded whole"),
    "cut": ({"request": Message([], 9, b"half", True)}, 2, "not recorded whole"),
    "hidden": (chat("mail to [email]"), 2, "--as-shown"),
    "masked": (chat("my key sk-l****4567"), 2, "--as-shown"),
    "no JSON": ({"request": Message([], 4, b"text")}, 2, "no JSON object"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_cannot_be_sent_is_said_to_be_so(run: Run, redis_client: redis.Redis, case: str) -> None:
    fields, code, reason = FAULTY[case]
    tell(redis_client, ended(1, **fields))

    result = run("replay", request_id(1), "--model", "other")

    assert (result.exit_code, reason in result.output) == (code, True), result.output


def test_hidden_words_go_out_if_that_is_wanted(run: Run, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1, **chat("mail to [email]")))

    assert "mail to [email]" in run("replay", request_id(1), "--as-shown").stdout


def test_a_refusal_is_one(run: Run, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(redis_client, ended(1, **chat("hi")))
    monkeypatch.setenv("LLM_PROXY_TOKEN", "sk-another-0123456789")

    assert run("replay", request_id(1)).exit_code == 4
    monkeypatch.setenv("LLM_PROXY_TOKEN", "")
    assert run("replay", request_id(1)).exit_code == 2


def test_an_export_plays_the_provider(run: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    said = b'{"choices":[]}'
    tell(redis_client, ended(1, body=said, **chat("hi")))
    head = [("content-type", "application/json"), ("content-length", "400"), ("content-encoding", "gzip")]
    shortened = Message(head, 400, b'{"mail":"[email]"}')
    tell(
        redis_client,
        ended(2, response=shortened, **chat("hidden")),
        ended(3, response=Message(head, 400), **chat("no")),
    )
    file, port = tmp_path / "evidence.zip", free_port()
    assert run("export", "--output", str(file)).exit_code == 0
    command = [sys.executable, "-m", "manager.cli", "flows", "serve", str(file), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not accepts(port):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        headers = {"content-type": "application/json"}
        same = requests.post(url, data=chat("hi")["request"].body, headers=headers, timeout=20)
        hidden = requests.post(url, data=chat("hidden")["request"].body, headers=headers, timeout=20)
        untold = requests.post(url, data=chat("no")["request"].body, headers=headers, timeout=20)
        other = requests.post(url, data=chat("bye")["request"].body, headers=headers, timeout=20)
    finally:
        process.terminate()
        process.wait(20)

    assert (same.status_code, same.content) == (200, said) and other.status_code == 404
    assert (hidden.content, untold.content) == (b'{"mail":"[email]"}', b"")


def test_a_file_that_is_no_export_is_refused(run: Run, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("other", "x")

    result = run("serve", str(tmp_path / "other.zip"))

    assert result.exit_code == 2 and "no export" in result.output
