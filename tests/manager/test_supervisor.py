"""Rules of supervising: ready or told why not, restarted with growing pauses, stopped in order, never orphaned."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager import supervisor as rules
from manager.supervisor import Program, StartError, Supervisor


class FakeClock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.stop()


def program(name: str, code: str, is_ready: Callable[[], bool] = lambda: True, **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", textwrap.dedent(code)), environment, is_ready)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def started_crasher(folder: Path, clock: FakeClock) -> Supervisor:
    """A supervisor whose one program was ready once, and from now on ends as soon as it is started."""
    code = f"""
        import time
        from pathlib import Path
        while not Path({str(folder / "found ready")!r}).exists(): time.sleep(0.01)
        raise SystemExit(1)
    """
    made = Supervisor(folder, clock)
    made.start(program("crasher", code))
    (folder / "found ready").touch()
    return made


SLEEP = "import time; time.sleep(60)"


def test_a_program_gets_its_environment_and_writes_to_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    code = "import os; print(sorted(os.environ)[:1], os.environ['GIVEN'], flush=True); " + SLEEP
    log = tmp_path / "talker.log"

    supervisor.start(program("talker", code, lambda: "value" in log.read_text(), GIVEN="value"))

    assert "HOME" not in log.read_text() and "value" in log.read_text()


def test_a_program_that_ends_before_it_is_ready_is_told_with_the_end_of_its_log(supervisor: Supervisor) -> None:
    with pytest.raises(StartError, match=r"(?s)faulty ended with 3:.*the reason"):
        supervisor.start(program("faulty", "print('the reason'); raise SystemExit(3)", lambda: False))


def test_what_an_earlier_run_has_logged_is_not_told(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "faulty.log").write_text("the reason of yesterday\n")

    with pytest.raises(StartError) as told:
        supervisor.start(program("faulty", "print('the reason of today'); raise SystemExit(3)", lambda: False))

    assert str(told.value) == "faulty ended with 3:\nthe reason of today\n"
    assert "yesterday" in (tmp_path / "faulty.log").read_text()


def test_a_long_log_is_told_by_its_end(supervisor: Supervisor) -> None:
    code = "print('begin' + 'x' * 5000 + 'end', end=''); raise SystemExit(3)"

    with pytest.raises(StartError) as told:
        supervisor.start(program("faulty", code, lambda: False))

    assert str(told.value).endswith("xend") and "begin" not in str(told.value)


def test_a_program_that_has_ended_is_not_ready_whoever_answers_in_its_place(supervisor: Supervisor) -> None:
    def answers() -> bool:
        until(lambda: not is_alive(supervisor.pids()["faulty"]))
        return True

    with pytest.raises(StartError, match="faulty ended with 3"):
        supervisor.start(program("faulty", "raise SystemExit(3)", answers))


def test_a_program_that_does_not_become_ready_in_time_is_told(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, start_seconds=0.1)

    with pytest.raises(StartError, match="slow is not ready after 0.1 s"):
        supervisor.start(program("slow", SLEEP, lambda: False))

    supervisor.stop()


def test_a_crashed_program_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    clock = FakeClock()
    supervisor = started_crasher(tmp_path, clock)
    pauses = []

    for _ in range(8):
        pid = supervisor.pids()["crasher"]
        until(lambda pid=pid: not is_alive(pid))
        supervisor.tend()
        begun = clock.now
        while supervisor.pids()["crasher"] == pid:
            clock.now += 0.1
            supervisor.tend()
        pauses.append(round(clock.now - begun, 1))

    expected = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, rules.LONGEST_PAUSE, rules.LONGEST_PAUSE]
    assert pauses == pytest.approx(expected, abs=0.15)
    supervisor.stop()


def test_a_program_that_had_been_healthy_is_started_again_soon(tmp_path: Path) -> None:
    clock = FakeClock()
    supervisor = started_crasher(tmp_path, clock)
    pauses = []

    for age in (0.0, 0.0, rules.HEALTHY_SECONDS + 1):
        clock.now += age
        pid = supervisor.pids()["crasher"]
        until(lambda pid=pid: not is_alive(pid))
        supervisor.tend()
        begun = clock.now
        while supervisor.pids()["crasher"] == pid:
            clock.now += 0.1
            supervisor.tend()
        pauses.append(round(clock.now - begun, 1))

    assert pauses == pytest.approx([0.2, 0.4, 0.2], abs=0.15)
    supervisor.stop()


def test_a_running_program_is_left_alone(supervisor: Supervisor) -> None:
    supervisor.start(program("runner", SLEEP))
    before = supervisor.pids()

    supervisor.tend()

    assert supervisor.pids() == before


def test_programs_are_stopped_in_reverse_order(supervisor: Supervisor, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    code = """
        import signal, sys, time
        def end(*_):
            open({journal!r}, "a").write("{name} ended\\n"); sys.exit()
        signal.signal(signal.SIGTERM, end)
        open({journal!r}, "a").write("{name} up\\n")
        while True: time.sleep(1)
    """
    for name in ("first", "second", "third"):
        text = code.format(journal=str(journal), name=name)
        supervisor.start(program(name, text, lambda name=name: f"{name} up" in journal.read_text()))

    supervisor.stop()

    assert journal.read_text().splitlines()[3:] == ["third ended", "second ended", "first ended"]


def test_a_program_that_will_not_end_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, stop_seconds=0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); " + SLEEP
    supervisor.start(program("deaf", code, lambda: "deaf" in (tmp_path / "deaf.log").read_text()))
    pid = supervisor.pids()["deaf"]

    supervisor.stop()

    assert not is_alive(pid)


def test_killing_the_supervisor_ends_its_programs(tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        from manager.supervisor import Program, Supervisor
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        supervisor.start(Program("child", (sys.executable, "-c", {SLEEP!r}), {{}}, lambda: True))
        print(supervisor.pids()["child"], flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    until(lambda: not is_alive(child))


def test_everything_may_be_stopped_at_the_same_time(supervisor: Supervisor) -> None:
    slow = "import signal, time, sys; signal.signal(15, lambda *_: (time.sleep(0.5), sys.exit())); time.sleep(60)"
    supervisor.start(*[program(f"slow-{number}", slow) for number in range(4)])
    time.sleep(0.3)  # Until they have set up their handlers.
    began = time.monotonic()

    supervisor.begin_stop()
    assert not supervisor.is_stopped()
    until(supervisor.is_stopped)

    assert time.monotonic() - began < 1.8


def test_what_does_not_stop_in_its_own_time_is_killed(supervisor: Supervisor) -> None:
    deaf = Program(
        "deaf",
        (sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(60)"),
        {},
        lambda: True,
        stop_seconds=0.2,
    )
    supervisor.start(deaf)
    time.sleep(0.3)  # Until it is deaf.

    supervisor.begin_stop()
    until(supervisor.is_stopped)

    assert supervisor.pids() == {}


def test_an_open_file_is_handed_down(supervisor: Supervisor) -> None:
    reader, writer = os.pipe()
    code = f"import os, time; os.write({writer}, b'.'); time.sleep(60)"

    supervisor.start(Program("writer", (sys.executable, "-c", code), {}, lambda: True, descriptors=(writer,)))

    assert os.read(reader, 1) == b"."
    os.close(reader)
    os.close(writer)
