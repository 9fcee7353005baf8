"""`llm-proxy proxy`: a worker that is killed is replaced, a stop lets requests finish, a reload drops none."""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from manager import programs
from manager.cli import main
from manager.supervisor import Program, Supervisor
from tests.journeys.conftest import Installation, Token, free_port, kill, until

# Which proxies the installation has beside ours makes no difference here.
pytestmark = pytest.mark.parametrize("runner", ["engine"], indirect=True, scope="session")

PROVIDERS = Path(__file__).parents[2] / "shared" / "providers.toml"
DRAIN_SECONDS = 6
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
HOLD = {"x-mock-behaviour": json.dumps({"hold_after": 2})}


@dataclass
class Proxy:
    """A proxy of two workers."""

    port: int
    supervisor: Supervisor
    token: Token
    # Its provider table.
    table: Path

    @property
    def pid(self) -> int:
        return self.supervisor.pids()["proxy"]

    def workers(self) -> set[int]:
        """Process ids of the workers that there are."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {int(child) for child in children}

    def ask(self, session: requests.Session, **more: object) -> requests.Response:
        headers = {"authorization": f"Bearer {self.token.secret}", **more.pop("headers", {})}  # type: ignore[dict-item]
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        body = {**CHAT, "stream": True} if more.get("stream") else CHAT
        return session.post(url, json=body, headers=headers, timeout=20, **more)  # type: ignore[arg-type]


@pytest.fixture
def proxy(installation: Installation, tmp_path: Path) -> Iterator[Proxy]:
    port, health = free_port(), free_port()
    table = tmp_path / "providers.toml"
    table.write_text(PROVIDERS.read_text())
    environment = installation.data_plane | {
        "LLM_PROXY_PROVIDERS_FILE": str(table),
        "LLM_PROXY_PROXY_PORT": str(port),
        "LLM_PROXY_METRICS_PORT": str(health),
        "LLM_PROXY_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    command = (sys.executable, "-m", "manager.cli", "proxy", "--workers", "2")
    url = f"http://127.0.0.1:{health}/readyz"
    program = Program("proxy", command, environment, lambda: programs.is_up(url), stop_seconds=DRAIN_SECONDS + 10)
    supervisor = Supervisor(installation.folder / "logs")
    try:
        supervisor.start(program)
        made = Proxy(port, supervisor, installation.token(installation.project(f"workers-{port}")), table)
        until(lambda: len(made.workers()) == 2)
        time.sleep(0.5)  # The second one may still be loading; no test depends on it.
        yield made
    finally:
        supervisor.stop()


@dataclass
class Load:
    """What clients that ask again and again have seen."""

    answers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_over: bool = False

    def run(self, proxy: Proxy, is_kept_alive: bool) -> None:
        session = requests.Session()
        while not self.is_over:
            try:
                self.answers.append(proxy.ask(session).status_code)
            except (requests.RequestException, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            if not is_kept_alive:
                session.close()
        session.close()


@contextmanager
def load(proxy: Proxy) -> Iterator[Load]:
    """Four clients that keep their connections, and four that open a new one for each request."""
    seen = Load()
    clients = [threading.Thread(target=seen.run, args=(proxy, number % 2 == 0)) for number in range(8)]
    for client in clients:
        client.start()
    try:
        until(lambda: len(seen.answers) > 50)
        yield seen
        before = len(seen.answers)
        until(lambda: len(seen.answers) > before + 50)
    finally:
        seen.is_over = True
        for client in clients:
            client.join()


def test_a_killed_worker_is_replaced_while_the_others_go_on(proxy: Proxy) -> None:
    with load(proxy) as seen:
        victim = min(proxy.workers())
        kill(victim)
        until(lambda: victim not in proxy.workers() and len(proxy.workers()) == 2)

    assert set(seen.answers) == {200}
    assert len(seen.failures) <= 8, seen.failures  # What it was working on: at most one request of each client.


def test_a_reload_drops_no_request(proxy: Proxy) -> None:
    before = proxy.workers()
    with load(proxy) as seen:
        for _ in range(2):
            old = proxy.workers()
            _signal(proxy, signal.SIGHUP)
            until(lambda old=old: not old & proxy.workers() and len(proxy.workers()) == 2)  # type: ignore[misc]

    assert not before & proxy.workers()
    assert (set(seen.answers), seen.failures) == ({200}, [])


def test_a_reload_leaves_a_running_stream_alone(installation: Installation, proxy: Proxy) -> None:
    old = proxy.workers()
    with requests.Session() as session:
        answer = proxy.ask(session, stream=True, headers=HOLD)
        lines = (line for line in answer.iter_lines() if line)
        next(lines), next(lines)

        _signal(proxy, signal.SIGHUP)
        until(lambda: len(proxy.workers() - old) == 2)
        with requests.Session() as other:
            assert proxy.ask(other).status_code == 200
        installation.release()

        assert list(lines)[-1] == b"data: [DONE]"
    until(lambda: not old & proxy.workers())


def test_a_stop_lets_a_stream_finish_and_takes_nobody_new(installation: Installation, proxy: Proxy) -> None:
    with requests.Session() as session:
        answer = proxy.ask(session, stream=True, headers=HOLD)
        lines = (line for line in answer.iter_lines() if line)
        next(lines)

        _signal(proxy, signal.SIGTERM)
        until(lambda: _is_refused(proxy))
        installation.release()

        assert list(lines)[-1] == b"data: [DONE]"
    until(lambda: not _is_alive(proxy.pid), DRAIN_SECONDS)


def test_a_stream_that_takes_too_long_ends_with_an_error_event(installation: Installation, proxy: Proxy) -> None:
    with requests.Session() as session:
        answer = proxy.ask(session, stream=True, headers=HOLD)
        lines = (line for line in answer.iter_lines() if line)
        next(lines)

        _signal(proxy, signal.SIGTERM)

        last = list(lines)[-1]
    installation.release()
    assert b"service_unavailable" in last and b"restarted" in last
    until(lambda: not _is_alive(proxy.pid), DRAIN_SECONDS + 5)
    [row] = installation.usage_of(proxy.token, 1)
    assert (row["status"], row["outcome"]) == (200, "cut")


def test_a_silent_connection_does_not_hold_up_a_stop(proxy: Proxy) -> None:
    with requests.Session() as session:
        assert proxy.ask(session).status_code == 200  # It is kept alive now.
        began = time.monotonic()

        _signal(proxy, signal.SIGTERM)
        until(lambda: not _is_alive(proxy.pid))

    assert time.monotonic() - began < DRAIN_SECONDS


def test_a_drain_lets_requests_finish_and_a_reload_serves_again(
    installation: Installation, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(installation.folder))
    with requests.Session() as session:
        answer = proxy.ask(session, stream=True, headers=HOLD)
        lines = (line for line in answer.iter_lines() if line)
        next(lines)

        assert [state["phase"] for state in _command("drain")] == ["draining"]
        until(lambda: _is_refused(proxy))
        assert CliRunner().invoke(main, ["drain", "--timeout", "0.1"]).exit_code == 1
        installation.release()

        assert list(lines)[-1] == b"data: [DONE]"
    [drained] = _command("drain", "--wait")
    assert (drained["pid"], drained["phase"], proxy.workers()) == (proxy.pid, "drained", set())

    [serving] = _command("reload")
    assert (serving["pid"], serving["phase"], len(proxy.workers())) == (proxy.pid, "serving", 2)
    with requests.Session() as session:
        assert proxy.ask(session).status_code == 200


def test_the_reload_command_drops_no_request(
    installation: Installation, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(installation.folder))
    with load(proxy) as seen:
        old = proxy.workers()

        assert [state["phase"] for state in _command("reload")] == ["serving"]

        assert len(proxy.workers() - old) == 2
        until(lambda: not old & proxy.workers())
    assert (set(seen.answers), seen.failures) == ({200}, [])


def test_workers_that_do_not_start_replace_none(
    installation: Installation, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(installation.folder))
    old, table = proxy.workers(), proxy.table.read_text()
    proxy.table.write_text("this is no table")
    try:
        failed = CliRunner().invoke(main, ["reload"])
        assert failed.exit_code == 1 and "The workers were not replaced" in failed.output
        assert proxy.workers() == old
    finally:
        proxy.table.write_text(table)

    assert [state["failure"] for state in _command("reload")] == [""]


def _command(*arguments: str) -> list[dict[str, Any]]:
    """What a command tells of the proxies of this machine."""
    shown = CliRunner().invoke(main, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


def _signal(proxy: Proxy, number: signal.Signals) -> None:
    os.kill(proxy.pid, number)


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def _is_refused(proxy: Proxy) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{proxy.port}/", timeout=20)
    except requests.ConnectionError:
        return True
    return False
