"""Rules of `llm-proxy logs`: readable, harmless to a terminal, the same for programs, and to be followed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manager.cli import main
from shared import settings

LINE = {"event": "request", "level": "info", "logger": "meter", "timestamp": "2030-01-31T12:00:00.123456Z"}

type Run = Callable[..., Result]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder's logs, of two programs."""
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "proxy.log").write_text(json.dumps({**LINE, "request_id": "r1", "status": 200}) + "\n")
    told = {**LINE, "event": "failed", "level": "error", "timestamp": "2030-01-31T12:00:01Z"}
    (folder / "jobs.log").write_text(json.dumps({**told, "exception": "Traceback:\n  x\x1b[2J"}) + "\n")
    return folder


@pytest.fixture
def run(logs: Path) -> Run:
    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, ["logs", *arguments], **more)

    return run


def test_people_read_lines_in_order(run: Run) -> None:
    shown = run()

    assert shown.exit_code == 0 and shown.output.splitlines() == [
        "2030-01-31 12:00:00.123 proxy         info    request request_id=r1 status=200",
        "2030-01-31 12:00:01.000 jobs          error   failed",
        "    Traceback:",
        "      x [2J",
    ]


def test_programs_read_objects(run: Run) -> None:
    found = [json.loads(line) for line in run("--json").output.splitlines()]

    assert [line["program"] for line in found] == ["proxy", "jobs"]
    assert found[0] == {**LINE, "program": "proxy", "timestamp": "2030-01-31T12:00:00.123456+00:00"} | {
        "request_id": "r1",
        "status": 200,
    }


CHOICES = {
    "by program": (["proxy"], ["proxy"]),
    "several": (["proxy", "jobs"], ["proxy", "jobs"]),
    "by level": (["--level", "warning"], ["jobs"]),
    "by request": (["--request-id", "r1"], ["proxy"]),
    "since a moment": (["--since", "2030-01-31T12:00:01Z"], ["jobs"]),
    "since a day, in UTC": (["--since", "2030-01-31"], ["proxy", "jobs"]),
    "since a moment of another zone": (["--since", "2030-01-31T13:00:01+01:00"], ["jobs"]),
    "since seconds ago": (["--since", "90"], ["proxy", "jobs"]),
    "the last one": (["-n", "1"], ["jobs"]),
    "none": (["-n", "0"], []),
}


@pytest.mark.parametrize("case", CHOICES)
def test_lines_are_chosen(run: Run, case: str) -> None:
    options, programs = CHOICES[case]

    assert [json.loads(line)["program"] for line in run(*options, "--json").output.splitlines()] == programs


@pytest.mark.parametrize("options", [["nobody"], ["--since", "noon"], ["--since", "P1Y"], ["--level", "loud"]])
def test_bad_input_is_told_in_a_line(run: Run, options: list[str]) -> None:
    shown = run(*options)

    assert shown.exit_code == 2 and "Traceback" not in shown.output


def test_a_machine_without_logs_says_where_they_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))

    shown = CliRunner().invoke(main, ["logs"])

    assert shown.exit_code == 1 and "Hint:" in shown.output


@pytest.fixture
def followed(logs: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "manager.cli", "logs", "--follow", "--json"]
    environment = settings.child_environment(None, {"LLM_PROXY_DATA_DIR": str(logs.parent)})
    pipe = subprocess.PIPE
    # Another test of this process may have left Ctrl-C ignored, which a child inherits.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed)
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def test_it_is_followed_across_rotation_until_ctrl_c(logs: Path, followed: "subprocess.Popen[str]") -> None:
    assert followed.stdout is not None

    def next_event() -> str:
        assert followed.stdout is not None
        return str(json.loads(followed.stdout.readline())["event"])

    assert [next_event(), next_event()] == ["request", "failed"]
    os.truncate(logs / "proxy.log", 0)
    (logs / "proxy.log").write_text(json.dumps({**LINE, "event": "cut"}) + "\n")
    assert next_event() == "cut"
    (logs / "jobs.log").rename(logs / "jobs.1")
    (logs / "jobs.log").write_text(json.dumps({**LINE, "event": "rotated"}) + "\n")
    assert next_event() == "rotated"
    (logs / "manager.log").write_text(json.dumps({**LINE, "event": "of a new program"}) + "\n")
    assert next_event() == "of a new program"

    followed.send_signal(signal.SIGINT)

    assert followed.wait(30) == 130
