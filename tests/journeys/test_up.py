"""`llm-proxy up`: one command starts everything, shows it working, and leaves nothing behind, however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from manager import secrets_file
from shared import redis_schema, settings
from tests.journeys.conftest import free_port, kill, until

LLM_PROXY = str(Path(sys.executable).with_name("llm-proxy"))
ADDONS = Path(__file__).parents[2] / "addons"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="up-") as made:
        yield Path(made)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment of free ports and one worker, with nothing of ours from outside."""
    foreign = settings.child_environment(None, {})
    ports = {f"LLM_PROXY_{name}_PORT": str(free_port()) for name in ("PROXY", "MANAGER", "INSPECTOR", "METRICS")}
    return {**foreign, **ports, "LLM_PROXY_DATA_DIR": str(folder), "LLM_PROXY_WORKERS": "2", **more}


def children_of(folder: Path) -> list[int]:
    """Process ids whose environment or command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                is_zombie = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                continue
            if str(folder).encode() in text and not is_zombie:
                found.append(int(entry.name))
    return found


def started(folder: Path, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    output = (folder / "up.out").open("wb")
    process = subprocess.Popen([LLM_PROXY, "up"], env=variables, stdout=output, stderr=output)
    output.close()

    def is_running() -> bool:
        assert process.poll() is None, (folder / "up.out").read_text()
        return b"Running until Ctrl-C" in (folder / "up.out").read_bytes()

    until(is_running, 60)
    return process


def once(variables: dict[str, str]) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([LLM_PROXY, "up", "--once"], env=variables, stdout=pipe, stderr=pipe, text=True)


def test_two_copies_run_the_demo_side_by_side_and_leave_nothing_running(folder: Path) -> None:
    copies = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        copies.append(once(environment(folder / name)))

    for copy in copies:
        output, errors = copy.communicate(timeout=120)
        assert copy.returncode == 0, errors
        report = json.loads(output.splitlines()[-1])
        assert list(report) == [
            "reply", "streamed_chunks", "usage", "request_count", "provider_saw_key", "first_byte_ms",
        ]  # fmt: skip
        assert "withering token" in report["reply"] and report["streamed_chunks"] > 1
        assert report["usage"]["total_tokens"] > 0 and report["request_count"] == 1 and report["first_byte_ms"] > 0
        assert "****" in report["provider_saw_key"]
    assert children_of(folder) == []


def test_a_second_run_keeps_secrets_and_data(folder: Path) -> None:
    reports = []
    for _ in range(2):
        run = once(environment(folder))
        output, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        reports.append((json.loads(output.splitlines()[-1]), (folder / "secrets.env").read_text()))

    (first, secrets), (second, same_secrets) = reports
    assert secrets == same_secrets and (first["request_count"], second["request_count"]) == (1, 1)
    assert (folder / "secrets.env").stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("redis_client")  # Whose server is emptied: it may belong to another test's database.
def test_real_servers_replace_the_embedded_ones(folder: Path, postgres_url: str, valkey_url: str) -> None:
    run = once(environment(folder, DATABASE_URL=postgres_url, REDIS_URL=valkey_url))

    output, errors = run.communicate(timeout=120)

    assert run.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["request_count"] == 1
    assert not (folder / "llm-proxy.db").exists() and not (folder / "valkey").exists()


def test_a_redis_of_another_database_is_refused_before_anything_starts(
    folder: Path, postgres_url: str, valkey_url: str, redis_client: redis.Redis
) -> None:
    redis_client.set(redis_schema.DATABASE, "another")

    run = once(environment(folder, DATABASE_URL=postgres_url, REDIS_URL=valkey_url))

    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1 and "Redis belongs to another database (another)" in errors, errors
    assert redis_client.keys() == [redis_schema.DATABASE.encode()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_stops_everything(folder: Path, number: signal.Signals) -> None:
    variables = environment(folder)
    process = started(folder, variables)
    page = f"http://127.0.0.1:{variables['LLM_PROXY_INSPECTOR_PORT']}"
    assert len(children_of(folder)) >= 7 and _answers(page)
    assert "sign in with an operator's token or the management token" in (folder / "up.out").read_text()

    process.send_signal(number)

    assert process.wait(30) == 0
    until(lambda: children_of(folder) == [])


def test_killing_the_supervisor_orphans_nobody(folder: Path) -> None:
    process = started(folder, environment(folder))

    kill(process.pid)
    process.wait()

    until(lambda: children_of(folder) == [])


def test_a_crashed_part_is_started_again(folder: Path) -> None:
    variables = environment(folder)
    process = started(folder, variables)
    url = f"http://127.0.0.1:{variables['LLM_PROXY_MANAGER_PORT']}/healthz"
    [master] = [pid for pid in children_of(folder) if _parent(pid) == process.pid and _runs(pid, b"manager\0")]

    kill(master)
    until(lambda: master not in children_of(folder))
    until(lambda: _answers(url))

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_two_installations_cannot_share_a_folder(folder: Path) -> None:
    variables = environment(folder)
    process = started(folder, variables)

    second = subprocess.run([LLM_PROXY, "up"], env=variables, capture_output=True, text=True, timeout=60)

    assert second.returncode == 1 and "another llm-proxy is running" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize("command", ["up", "manager", "jobs", "proxy"])
def test_faulty_settings_are_named_all_at_once_and_nothing_starts(folder: Path, command: str) -> None:
    faulty = {"MANAGEMENT_TOKEN": "short", "ENCRYPTION_KEYS": "k1:notbase64!", "TOKEN_PEPPER": "a" * 50}

    run = subprocess.run(
        [LLM_PROXY, command], env=environment(folder, **faulty), capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 2
    named = {name for name in faulty if name in run.stderr}
    assert named == (set(faulty) if command != "proxy" else {"ENCRYPTION_KEYS", "TOKEN_PEPPER"})
    assert "notbase64" not in run.stderr and children_of(folder) == []


def mitmdump(folder: Path, variables: dict[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    """Run stock mitmdump with our addons until it ends by itself."""
    command = [str(Path(sys.executable).with_name("mitmdump")), "-s", str(ADDONS / "main.py"), *options]
    command += ["--set", f"confdir={folder}", "--mode", "reverse:http://upstream.invalid"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


def test_missing_settings_stop_mitmdump_itself(folder: Path) -> None:
    run = mitmdump(folder, environment(folder), "--listen-port", str(free_port()))

    assert run.returncode == 1
    assert "ENCRYPTION_KEYS" in run.stderr and "TOKEN_PEPPER" in run.stderr and "MANAGEMENT_TOKEN" not in run.stderr


@pytest.mark.parametrize("options", [[], ["--no-server", "-s", str(ADDONS / "engine" / "shared_port.py")]])
def test_a_worker_that_cannot_listen_ends(folder: Path, options: list[str]) -> None:
    secrets = secrets_file.ensure(folder, ["ENCRYPTION_KEYS", "TOKEN_PEPPER"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = ["--listen-host", "127.0.0.1", "--listen-port", str(taken.getsockname()[1])]

        run = mitmdump(folder, environment(folder, **secrets), *address, *options)

    assert run.returncode == 1 and "address already in use" in (run.stdout + run.stderr).lower()


def _parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


def _runs(pid: int, argument: bytes) -> bool:
    return (Path("/proc") / str(pid) / "cmdline").read_bytes().endswith(argument)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
