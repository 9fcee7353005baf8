"""Rules of dying with one's parent: on whatever signal was asked for, however the parent ends."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest

from manager.process import die_with_parent

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
CHILD = """
import signal, sys, time
from manager.process import die_with_parent
die_with_parent(int(sys.argv[1]), signal.SIGKILL)
print("asked", flush=True)
time.sleep(60)
"""


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None and parent.stdout is not None
    with parent, parent.stdin, parent.stdout:
        child = os.pidfd_open(int(parent.stdout.readline()))

        parent.kill()

        # The descriptor of a process becomes readable when it has ended.
        assert select.select([child], [], [], 10)[0] == [child]
        os.close(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_kernel_is_asked_for_the_signal(asked_for: Callable[[], int], number: signal.Signals) -> None:
    die_with_parent(os.getppid(), number)

    assert asked_for() == number


def test_a_signal_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match="PR_SET_PDEATHSIG"):
        die_with_parent(os.getppid(), cast(signal.Signals, 999))


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", CHILD, "1"], capture_output=True, timeout=30, check=False)

    assert (ended.returncode, ended.stdout) == (1, b"")


def test_ending_at_once_runs_nothing_of_the_parents(
    asked_for: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    die_with_parent(os.getpid(), signal.SIGTERM)

    assert codes == [1]
