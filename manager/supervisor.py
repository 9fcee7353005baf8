"""Starts the programs of one machine, keeps them running, and leaves nothing behind however it ends.

Each child asks the kernel to be signalled when the supervisor dies, so that even `kill -9` orphans nobody.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from manager.process import die_with_parent
from shared import logs

START_SECONDS = 30.0
STOP_SECONDS = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
# A program that ran this long was healthy: the next crash starts with a short pause again.
HEALTHY_SECONDS = 10.0
_TAIL_LENGTH = 2000

log = logs.get("supervisor")


class StartError(Exception):
    """A program did not become ready; the message holds the end of what it has logged since it was started."""


@dataclass(frozen=True)
class Program:
    """One child: what to run, with which environment, when it counts as ready, and how it learns of our death.

    `stop_seconds` is what it may take to end; `descriptors` are the open files that it inherits.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool]
    death_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = STOP_SECONDS
    descriptors: tuple[int, ...] = ()


@dataclass
class _Running:
    program: Program
    process: "subprocess.Popen[bytes]"
    log_begin: int  # Where in its log this run of it begins.
    started: float
    pause: float = FIRST_PAUSE
    restart_at: float | None = None
    kill_at: float | None = None


class Supervisor:
    """Children by order of start; they are stopped in reverse.

    Their output goes to `<log folder>/<name>.log`; without a folder, to where our own goes.
    """

    def __init__(
        self,
        log_folder: Path | None,
        clock: Callable[[], float] = time.monotonic,
        start_seconds: float = START_SECONDS,
        stop_seconds: float | None = None,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._log_folder = log_folder
        self._longest_pause = longest_pause
        self._clock = clock
        self._start_seconds, self._stop_seconds = start_seconds, stop_seconds
        self._children: list[_Running] = []
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def start(self, *programs: Program) -> None:
        """Start programs side by side and wait until all are ready. Raises StartError."""
        begun = [_Running(program, *self._spawn(program), self._clock()) for program in programs]
        self._children += begun
        for child in begun:
            self._await_ready(child)

    def pids(self) -> dict[str, int]:
        """Return the process id of each program."""
        return {child.program.name: child.process.pid for child in self._children}

    def tend(self) -> None:
        """Restart what has crashed, after a pause that grows with each crash. Call it again and again."""
        for child in self._children:
            if child.process.poll() is None:
                continue
            if child.restart_at is None:
                self._plan_restart(child)
            elif self._clock() >= child.restart_at:
                child.process, child.log_begin = self._spawn(child.program)
                child.started, child.restart_at = self._clock(), None

    def stop(self) -> None:
        """Stop everything, last started first; what does not end in time is killed."""
        while self._children:
            child = self._children.pop()
            self._ask_to_stop(child)
            try:
                child.process.wait(self._patience_with(child))
            except subprocess.TimeoutExpired:
                self._kill(child)

    def begin_stop(self) -> None:
        """Tell everything to stop, all at the same time, and do not wait. Go on with `is_stopped`."""
        for child in self._children:
            self._ask_to_stop(child)
            child.kill_at = self._clock() + self._patience_with(child)

    def is_stopped(self) -> bool:
        """Tell whether all have ended after `begin_stop`; what has not in its time is killed. Call it again and again.

        A child that had crashed is not started again.
        """
        for child in list(self._children):
            if child.process.poll() is None and child.kill_at is not None and self._clock() >= child.kill_at:
                self._kill(child)
            if child.process.poll() is not None:
                self._children.remove(child)
        return not self._children

    def _patience_with(self, child: _Running) -> float:
        return child.program.stop_seconds if self._stop_seconds is None else self._stop_seconds

    def _ask_to_stop(self, child: _Running) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)

    def _kill(self, child: _Running) -> None:
        log.error("killed_after_timeout", program=child.program.name)
        child.process.kill()
        child.process.wait()

    def _spawn(self, program: Program) -> "tuple[subprocess.Popen[bytes], int]":
        """Start a program; return it and the size of its log before."""
        with self._output_of(program) as output:
            log_begin = 0 if output is None else output.tell()
            process = subprocess.Popen(  # noqa: S603 - the commands are our own
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                pass_fds=program.descriptors,
                process_group=0,  # Ctrl-C is for the supervisor, which then stops the others in order.
                preexec_fn=partial(die_with_parent, os.getpid(), program.death_signal),  # noqa: PLW1509
            )
        return process, log_begin

    def _output_of(self, program: Program) -> AbstractContextManager[IO[bytes] | None]:
        if self._log_folder is None:
            return contextlib.nullcontext()
        return (self._log_folder / f"{program.name}.log").open("ab")

    def _await_ready(self, child: _Running) -> None:
        deadline = self._clock() + self._start_seconds
        # Asked in this order: whoever else answers in its place does not make a dead program ready.
        while not child.program.is_ready() or child.process.poll() is not None:
            if child.process.poll() is not None:
                raise StartError(f"{child.program.name} ended with {child.process.returncode}:\n{self._tail(child)}")
            if self._clock() > deadline:
                waited = f"{self._start_seconds:g} s"
                raise StartError(f"{child.program.name} is not ready after {waited}:\n{self._tail(child)}")
            time.sleep(0.02)

    def _plan_restart(self, child: _Running) -> None:
        if self._clock() - child.started > HEALTHY_SECONDS:
            child.pause = FIRST_PAUSE
        child.restart_at = self._clock() + child.pause
        log.error("crashed", program=child.program.name, exit_code=child.process.returncode, restart_in=child.pause)
        child.pause = min(child.pause * 2, self._longest_pause)

    def _tail(self, child: _Running) -> str:
        if self._log_folder is None:
            return "see above"
        with (self._log_folder / f"{child.program.name}.log").open("rb") as written:
            written.seek(child.log_begin)
            return written.read().decode(errors="replace")[-_TAIL_LENGTH:]
