"""Rules of the thread that writes log lines."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import cast

import orjson
import pytest

from shared import logs
from shared.off_thread import OffThread


class Gate(io.StringIO):
    """Lets nothing be written before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.writers: list[str] = []

    def write(self, text: str) -> int:
        self.opened.wait(10)
        self.writers.append(threading.current_thread().name)
        return super().write(text)


def test_whoever_logs_does_not_wait_and_the_order_stays() -> None:
    gate = Gate()
    stream = OffThread(gate)

    for number in range(1000):
        stream.write(f"{number}\n")
    assert gate.getvalue() == ""
    gate.opened.set()
    stream.close()

    assert gate.getvalue().split() == [str(number) for number in range(1000)]
    assert len(gate.writers) < 1000


def test_too_much_is_written_by_whoever_writes_it() -> None:
    gate = Gate()
    gate.opened.set()
    stream = OffThread(gate, max_waiting=0)

    stream.write("one\n")

    assert (gate.getvalue(), gate.writers[0]) == ("one\n", threading.current_thread().name)
    stream.close()


def test_what_comes_after_the_end_is_written_at_once() -> None:
    under = io.StringIO()
    stream = OffThread(under)
    stream.close()

    stream.write("late\n")

    assert under.getvalue() == "late\n"


def test_a_stream_that_fails_does_not_end_the_thread() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    stream = OffThread(Broken())
    stream.write("lost\n")
    stream.close()


def test_nothing_is_lost_when_the_process_exits() -> None:
    program = (
        "from shared import logs; logs.configure('info', ['secret-of-this-test']); logs.write_off_thread()\n"
        "log = logs.EventLog('request'); log.info('request', number=1, text='secret-of-this-test')\n"
        "logs.get('other').info('said', number=2)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)

    first, second = [orjson.loads(line) for line in ended.stderr.splitlines()]
    assert (first["number"], first["text"], second["number"]) == (1, "****", 2)


@pytest.mark.usefixtures("_root_as_it_was")
def test_a_request_is_logged_as_by_any_logger_and_only_if_the_level_says_so() -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logs.EventLog("request").info("request", status=200)
    logs.get("request").info("request", status=200)
    logs.configure("warning", stream=stream)
    logs.EventLog("request").info("request", status=200)

    quick, usual = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert quick.keys() == usual.keys()
    assert quick | {"timestamp": ""} == usual | {"timestamp": ""}
    assert len(quick["timestamp"]) == len(usual["timestamp"]) == len("2026-01-01T00:00:00.000000Z")


@pytest.mark.usefixtures("_root_as_it_was")
def test_a_stream_that_fails_is_silent() -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    stream.close()

    logs.EventLog("request").info("request", status=200)
    assert cast(logs.Handler, logging.getLogger().handlers[0]).stream is stream


@pytest.fixture
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
