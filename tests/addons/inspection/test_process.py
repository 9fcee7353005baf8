"""Rules of the process: it starts without a manager and a Redis, ends when told to, and says why it cannot start."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from shared import settings
from shared.settings import Plane
from tests.ports import free_port

type Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Starts `llm-proxy inspect` with some variables."""
    started: list[subprocess.Popen[str]] = []
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)

    def begin(**variables: str) -> "subprocess.Popen[str]":
        environment = settings.child_environment(Plane.INSPECTOR, {"LLM_PROXY_DATA_DIR": str(tmp_path)} | variables)
        command = [sys.executable, "-m", "manager.cli", "inspect"]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def answer(url: str) -> requests.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return requests.get(url, timeout=5)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_needs_nobody_to_start_and_ends_when_told_to(run: Run, number: signal.Signals) -> None:
    port = free_port()
    process = run(LLM_PROXY_INSPECTOR_PORT=str(port))

    found = answer(f"http://127.0.0.1:{port}/")
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)

    assert found.status_code == 200 and "Sign in" in found.text
    assert process.returncode == 0 and "feed_lost" in errors and "Traceback" not in errors


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = run(LLM_PROXY_INSPECTOR_PORT=str(taken.getsockname()[1]))

        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1 and "cannot listen on 127.0.0.1" in errors and "Traceback" not in errors


def test_faulty_settings_are_named(run: Run) -> None:
    process = run(LLM_PROXY_INSPECTOR_PASSWORD="plain", LLM_PROXY_INSPECTOR_FLOWS="many")

    _, errors = process.communicate(timeout=30)

    assert (
        process.returncode == 2 and "LLM_PROXY_INSPECTOR_PASSWORD" in errors and "LLM_PROXY_INSPECTOR_FLOWS" in errors
    )
    assert "plain" not in errors


def test_the_module_itself_names_them_as_well(run: Run, tmp_path: Path) -> None:
    environment = settings.child_environment(Plane.INSPECTOR, {"LLM_PROXY_INSPECTOR_MB": "0"})

    ended = subprocess.run(
        [sys.executable, "-m", "addons.inspection"], env=environment, capture_output=True, text=True, timeout=60
    )

    assert ended.returncode == 1 and "LLM_PROXY_INSPECTOR_MB" in ended.stderr and "Traceback" not in ended.stderr
