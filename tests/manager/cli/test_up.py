"""Rules of `llm-proxy up` on a machine where it cannot run: it says why in a line, and has told nobody anything."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared import settings

PORTS = [f"LLM_PROXY_{name}_PORT" for name in ("PROXY", "MANAGER", "METRICS", "INSPECTOR")]
NO_DATABASE, NO_REDIS = "postgresql://llm:the-password@127.0.0.1:1/llm", "redis://:the-password@127.0.0.1:1"

type Up = Callable[..., tuple[int, str]]


@pytest.fixture
def foreign() -> Iterator[socket.socket]:
    """A listener of somebody else, who shares his port with whoever likes to."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        yield listener


@pytest.fixture
def up(tmp_path: Path) -> Up:
    """Runs it with some variables; returns exit code and what it said."""

    def run(**variables: str) -> tuple[int, str]:
        given = {"LLM_PROXY_DATA_DIR": str(tmp_path)} | dict(zip(PORTS, map(str, free_ports()), strict=True))
        command = [sys.executable, "-m", "manager.cli", "up", "--once"]
        environment = settings.child_environment(None, given | variables)
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout + ended.stderr

    return run


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.parametrize("variable", PORTS)
def test_a_port_that_somebody_holds_is_named_and_he_is_told_nothing(
    up: Up, foreign: socket.socket, tmp_path: Path, variable: str
) -> None:
    port = foreign.getsockname()[1]

    assert up(**{variable: str(port)}) == (1, f"Error: port {port} ({variable}) is taken; set another one\n")

    foreign.setblocking(False)
    with pytest.raises(BlockingIOError):
        foreign.accept()
    assert list((tmp_path / "logs").iterdir()) == []


def test_one_port_for_two_services_is_refused(up: Up) -> None:
    code, said = up(LLM_PROXY_PROXY_PORT="7777", LLM_PROXY_MANAGER_PORT="7777")

    assert code == 2
    assert "LLM_PROXY_MANAGER_PORT: is the same port as LLM_PROXY_PROXY_PORT" in said


@pytest.mark.parametrize(("variable", "url"), [("DATABASE_URL", NO_DATABASE), ("REDIS_URL", NO_REDIS)])
def test_a_server_that_is_away_is_named_soon_and_in_one_line(up: Up, tmp_path: Path, variable: str, url: str) -> None:
    begun = time.monotonic()

    code, said = up(**{variable: url})

    assert time.monotonic() - begun < 15  # of which the interpreter takes the most on a busy machine
    assert code == 1 and said.startswith(f"Error: {variable}: ") and said.count("\n") == 1
    assert "refused" in said and "the-password" not in said and "http" not in said
    assert list((tmp_path / "logs").iterdir()) == []
