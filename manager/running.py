"""The proxies that run on this machine: each tells how it is in a file in the data folder, and keeps the file locked.

The kernel gives the lock back however a process ends, so a file that nobody locks is a left-over and tells nothing.
"""

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

FOLDER = "run"
# What a proxy is told by, beside SIGTERM, which ends it.
RELOAD, DRAIN = signal.SIGHUP, signal.SIGUSR1
_PAUSE_SECONDS = 0.02
_MOST_READS = 50


class Phase(StrEnum):
    """What a proxy does."""

    STARTING = "starting"
    SERVING = "serving"
    # Takes nobody new, and lets requests finish; then it is drained, until it is reloaded or ended.
    DRAINING = "draining"
    DRAINED = "drained"


@dataclass(frozen=True)
class State:
    """What a proxy tells of itself.

    `begun` tells its process from any other that ever has its number; `turns` counts the signals that it has heeded,
    and `failure` says what went wrong with the last one, if anything.
    """

    pid: int
    begun: str
    port: int
    workers: int
    phase: Phase = Phase.STARTING
    turns: int = 0
    failure: str = ""


class Post:
    """Where a proxy tells how it is. Raises OSError if it cannot be made."""

    def __init__(self, data_dir: Path, port: int, workers: int) -> None:
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder)
        self._state = State(os.getpid(), begun(os.getpid()), port, workers)
        self._path = folder / f"proxy-{os.getpid()}.lock"
        self._descriptor = _locked(self._path)
        self._write()

    def tell(self, phase: Phase) -> None:
        """Tell what is done now."""
        self._state = replace(self._state, phase=phase)
        self._write()

    def answer(self, phase: Phase, failure: str) -> None:
        """Tell what has come of a signal."""
        self._state = replace(self._state, phase=phase, turns=self._state.turns + 1, failure=failure)
        self._write()

    def close(self) -> None:
        """Tell no more."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _write(self) -> None:
        line = json.dumps(asdict(self._state)).encode() + b"\n"
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))


@dataclass(frozen=True)
class Running:
    """A proxy that runs. Its state is asked for again and again: None when it has ended."""

    path: Path

    def state(self) -> State | None:
        """Return how it is now, None if it is no more. Raises PermissionError if it is another user's."""
        for _ in range(_MOST_READS):
            try:
                with self.path.open("rb") as file:
                    if _is_free(file.fileno()):
                        return None
                    told = json.loads(file.readline())
                found = State(**told | {"phase": Phase(told["phase"])})
                return found if begun(found.pid) == found.begun else None
            except FileNotFoundError:
                return None
            except (ValueError, TypeError, KeyError):  # It is being written.
                time.sleep(_PAUSE_SECONDS)
        return None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. Raises ProcessLookupError if it is no more, PermissionError if it is another user's."""
        state = self.state()
        if state is None:
            raise ProcessLookupError
        descriptor = os.pidfd_open(state.pid)
        try:
            if begun(state.pid) != state.begun:
                raise ProcessLookupError
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def proxies(data_dir: Path) -> list[Running]:
    """Return the proxies that run on a data folder. Raises PermissionError if they are another user's."""
    found = [Running(path) for path in sorted((data_dir / FOLDER).glob("proxy-*.lock"))]
    return [each for each in found if each.state() is not None]


def begun(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; empty if there is none of this number."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Somebody who sweeps may have taken it for a left-over, just before it was locked.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    for path in folder.glob("proxy-*.lock"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if _is_free(file.fileno()):
                path.unlink()


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
