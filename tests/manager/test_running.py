"""Rules of how proxies of a machine are found: only those that run, and no other process with their number."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from manager import running
from manager.running import Phase, Post, Running

# A proxy that writes down the signals which it gets, one in a line.
PROXY = """
import os, signal, sys
from pathlib import Path
from manager.running import DRAIN, RELOAD, Phase, Post
for number in (RELOAD, DRAIN):
    signal.signal(number, lambda number, _: os.write(1, signal.Signals(number).name.encode() + b"\\n"))
post = Post(Path(sys.argv[1]), 8080, 2)
post.tell(Phase.SERVING)
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def started(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen([sys.executable, "-c", PROXY, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_that_runs_is_found_and_hears(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        [found] = running.proxies(tmp_path)
        state = found.state()
        assert state is not None and (state.pid, state.port, state.workers) == (process.pid, 8080, 2)
        assert state.phase is Phase.SERVING

        found.send(running.DRAIN)
        found.send(running.RELOAD)

        assert process.stdout is not None
        assert {process.stdout.readline() for _ in range(2)} == {"SIGUSR1\n", "SIGHUP\n"}


def test_several_may_run_on_one_folder(tmp_path: Path) -> None:
    with started(tmp_path), started(tmp_path):
        assert len(running.proxies(tmp_path)) == 2


def test_one_that_was_killed_is_none_any_more(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        [found] = running.proxies(tmp_path)
    assert process.returncode == -signal.SIGKILL

    assert list((tmp_path / "run").iterdir()) != []
    assert running.proxies(tmp_path) == [] and found.state() is None
    with pytest.raises(ProcessLookupError):
        found.send(running.DRAIN)


def test_left_overs_are_swept_by_the_next_one(tmp_path: Path) -> None:
    with started(tmp_path):
        pass
    with closing(Post(tmp_path, 8080, 1)):
        assert [file.name for file in (tmp_path / "run").iterdir()] == [f"proxy-{os.getpid()}.lock"]
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("lie", [{"pid": os.getppid()}, {"begun": "1"}, {"phase": "asleep"}, {"more": 1}])
def test_what_does_not_fit_its_process_is_believed_by_nobody(tmp_path: Path, lie: dict[str, object]) -> None:
    with closing(Post(tmp_path, 8080, 1)):
        file = tmp_path / "run" / f"proxy-{os.getpid()}.lock"
        file.write_text(json.dumps(json.loads(file.read_text()) | lie) + "\n")

        assert running.proxies(tmp_path) == []
        with pytest.raises(ProcessLookupError):
            Running(file).send(running.DRAIN)


def test_nothing_runs_where_there_is_no_folder(tmp_path: Path) -> None:
    assert running.proxies(tmp_path / "nowhere") == []


def test_nobody_reads_a_half_of_what_is_told(tmp_path: Path) -> None:
    with closing(Post(tmp_path, 8080, 1)) as post:
        [found] = running.proxies(tmp_path)
        is_over = threading.Event()

        def change() -> None:
            while not is_over.is_set():
                post.answer(Phase.SERVING, "x" * 300)
                post.answer(Phase.DRAINED, "")

        writer = threading.Thread(target=change)
        writer.start()
        states = [found.state() for _ in range(200)]
        is_over.set()
        writer.join()

    assert None not in states


def test_what_a_proxy_starts_does_not_keep_its_lock(tmp_path: Path) -> None:
    post = Post(tmp_path, 8080, 1)
    [found] = running.proxies(tmp_path)
    child = subprocess.Popen(["sleep", "60"])
    try:
        os.close(post._descriptor)

        assert found.state() is None
    finally:
        child.kill()
        child.wait()


def test_only_its_owner_may_look(tmp_path: Path) -> None:
    with closing(Post(tmp_path, 8080, 1)):
        assert (tmp_path / "run").stat().st_mode & 0o077 == 0
        assert [file.stat().st_mode & 0o077 for file in (tmp_path / "run").iterdir()] == [0]


def test_there_is_no_beginning_of_what_is_not_there() -> None:
    assert running.begun(os.getpid()) and running.begun(2**22 + 1) == ""
