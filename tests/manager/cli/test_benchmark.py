"""Rules of `llm-proxy benchmark`: reports, exit codes, and Ctrl-C, after which what was seen is kept."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manager.benchmark.profiles import PROFILES
from manager.benchmark.results import read
from manager.cli import benchmark, main
from manager.mock_provider import serving as providing
from shared import settings
from tests.manager.benchmark.runs import run as made_up
from tests.manager.benchmark.runs import tally
from tests.manager.benchmark.server import Say, Server, serving, whole

TOKEN, OTHER = "sk-stands-for-a-token-0123", "sk-stands-for-another-4567"

type Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command with arguments, in an environment with a token and nothing else of ours."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["benchmark", *arguments])

    return run


def short(server: Server, *more: str, requests: int = 20) -> list[str]:
    """Arguments of a run that is soon over."""
    return ["--target", f"a={server.url}", "--requests", str(requests), "--warm-up", "0", *more]


def test_figures_are_shown(run: Run, server: Server) -> None:
    result = run(*short(server))

    assert result.exit_code == 0, result.output
    assert "8 connections" in result.stdout and "p99.9" in result.stdout and "0 (0 %)" in result.stdout
    head, body = server.requests[0]
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n") and f"authorization: Bearer {TOKEN}\r\n" in head
    assert json.loads(body)["model"] == "gpt-4o-mini"


def test_programs_get_json_and_no_token(run: Run, server: Server) -> None:
    result = run(*short(server), "--json")

    told = json.loads(result.stdout)
    assert told["results"][0]["figures"]["requests"] == 20 and told["is_whole"] and told["failed_conditions"] == []
    assert TOKEN not in result.output


def test_the_proxy_of_the_settings_is_the_target(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_PUBLIC_URL", server.url)

    told = json.loads(run("--requests", "3", "--warm-up", "0", "--json").stdout)

    assert told["plan"]["targets"] == [{"name": "proxy", "url": server.url}] and len(server.requests) == 3


def test_reports_are_written(run: Run, server: Server, tmp_path: Path) -> None:
    outputs = [part for name in ("r.json", "r.csv", "r.html") for part in ("--output", name)]

    assert run(*short(server), *outputs).exit_code == 0

    assert read(tmp_path / "r.json").results[0].latency.count == 20
    (row,) = csv.DictReader((tmp_path / "r.csv").read_text().splitlines())
    assert row["requests"] == "20"
    assert "<svg" in (tmp_path / "r.html").read_text()


def test_targets_have_their_own_tokens_and_take_turns(run: Run, server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(OTHER + "\n")
    with serving() as other:
        result = run(
            *short(server), "--target", f"b={other.url}/v1", "--token-file", "b=key", "--token-header", "X-Api-Key"
        )

    assert result.exit_code == 0 and "Overhead" in result.stdout
    assert (len(server.requests), len(other.requests)) == (20, 20)
    assert f"x-api-key: {TOKEN}\r\n" in server.requests[0][0] and f"x-api-key: {OTHER}\r\n" in other.requests[0][0]


def test_a_body_is_a_template_from_a_file(run: Run, server: Server, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(
        '{"model": "{{model}}", "n": {{number}}, "who": "{{who}}", "x": "{{text:5-9}}"}'
    )

    run(*short(server), "--body", "@body.json", "--var", "who=me", "--model", "m", "--stream", "--header", "x-a: b")

    bodies = [json.loads(body) for _, body in server.requests]
    assert {each["n"] for each in bodies} == set(range(20)) and bodies[0]["stream"] is True
    assert {(each["model"], each["who"], 5 <= len(each["x"]) <= 9) for each in bodies} == {("m", "me", True)}
    assert "x-a: b\r\n" in server.requests[0][0]


def test_a_get_has_no_body(run: Run, server: Server) -> None:
    run(*short(server), "--method", "GET", "--endpoint", "/health")

    assert server.requests[0][0].startswith("GET /health HTTP/1.1") and server.requests[0][1] == b""


# Conditions, baselines, comparisons


def test_a_condition_that_is_so_fails_the_run(run: Run, server: Server) -> None:
    result = run(*short(server), "--fail-if", "max>0", "--fail-if", "errors>0")

    assert result.exit_code == 1 and "max>0: it is " in result.stderr and "errors" not in result.stderr


def test_a_condition_that_is_not_so_does_not(run: Run, server: Server) -> None:
    assert run(*short(server), "--fail-if", "errors>0").exit_code == 0


def test_a_run_is_kept_and_another_one_compared_with_it(run: Run, server: Server, tmp_path: Path) -> None:
    first = run(*short(server), "--save-baseline", "base")
    second = run(*short(server), "--baseline", "base", "--json")

    assert first.exit_code == 0 and read(tmp_path / "base").is_whole
    assert second.exit_code == 1  # So few requests say nothing.
    assert json.loads(second.stdout)["comparison"]["verdict"] == "not comparable"
    assert "Against the baseline it is not comparable" in second.stderr


@pytest.mark.parametrize(("ms", "code", "verdict"), [(20, 0, "same"), (30, 1, "worse"), (15, 0, "better")])
def test_two_runs_are_compared(run: Run, tmp_path: Path, ms: float, code: int, verdict: str) -> None:
    for name, content in (("a.json", made_up(tally())), ("b.json", made_up(tally(ms=ms, seed=2)))):
        (tmp_path / name).write_text(json.dumps(content.as_dict()))

    shown, told = run("--compare", "a.json", "b.json"), run("--compare", "a.json", "b.json", "--json")

    assert (shown.exit_code, told.exit_code, json.loads(told.stdout)["verdict"]) == (code, code, verdict)
    assert f"Verdict: {verdict}" in shown.stdout and "99 % interval" in shown.stdout


# Profiles


def test_profiles_of_the_command_are_those_there_are() -> None:
    assert set(benchmark._PROFILES) == set(PROFILES)


def test_smoke_fails_on_any_error(run: Run) -> None:
    with serving(lambda number: [Say(whole("500 Oops") if number == 9 else whole())]) as server:
        result = run("--profile", "smoke", "--target", f"a={server.url}", "--warm-up", "0")

    assert result.exit_code == 1 and "errors>0: it is 1" in result.stderr and len(server.requests) == 20


def test_reject_shows_a_token_that_nobody_knows(run: Run) -> None:
    with serving(lambda number: [Say(whole("401 Unauthorized"))]) as server:
        result = run("--profile", "reject", *short(server))

    assert result.exit_code == 0, result.output
    assert "authorization: Bearer sk-llmp-" in server.requests[0][0] and TOKEN not in server.requests[0][0]


def test_stream_measures_chunks_of_a_provider(run: Run) -> None:
    with providing(accepted_keys=[TOKEN]) as url:
        told = json.loads(run("--profile", "stream", "--target", f"a={url}", "--requests", "40", "--json").stdout)

    figures = told["results"][0]["figures"]
    assert figures["errors"] == 0 and figures["first_chunk_ms"]["p50"] > 0 and figures["chunks"] >= 80


# Ends


def test_where_nobody_is_it_ends_with_3(run: Run) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        result = run("--target", f"a=http://127.0.0.1:{nobody.getsockname()[1]}")

    assert result.exit_code == 3 and "a cannot be reached" in result.stderr and "Hint" in result.stderr


def test_where_all_is_refused_it_ends_with_4(run: Run) -> None:
    with serving(lambda number: [Say(whole("401 Unauthorized"))]) as server:
        result = run(*short(server))

    assert result.exit_code == 4 and "a gave no good answer: status 401" in result.stderr


FAULTY = {
    "profile": (["--profile", "none"], "--profile"),
    "target": (["--target", "http://x"], "--target is given as name=value"),
    "url": (["--target", "a=ftp://x"], "must begin with http"),
    "twins": (["--target", "a=http://x", "--target", "a=http://y"], "given twice"),
    "token of nobody": (["--target", "a=http://x", "--token-file", "b=f"], "there is no target b"),
    "no token": (["--target", "a=http://x", "--token-file", "a=/dev/null"], "There is no token in /dev/null"),
    "no token file": (["--target", "a=http://x", "--token-file", "a=nowhere"], "cannot be read"),
    "secret header": (["--header", "Authorization: Bearer x"], "would be seen by other users"),
    "own header": (["--header", "content-length: 3"], "set by the load"),
    "header": (["--header", "nonsense"], "given like"),
    "split header": (["--header", "a: b\r\nc: d"], "given like"),
    "body": (["--body", "{{nonsense}}"], "Nobody knows"),
    "no body file": (["--body", "@nowhere"], "cannot be read"),
    "stream": (["--body", "hello", "--stream"], "JSON object"),
    "var": (["--var", "x"], "--var is given as"),
    "duration": (["--duration", "soon"], "no duration"),
    "concurrency": (["--concurrency", "x"], "neither a number"),
    "steps": (["--concurrency", "1,2,3", "--rate", "1,2"], "as many steps"),
    "ramp": (["--concurrency", "1-9", "--requests", "3"], "needs a duration"),
    "expect": (["--expect", "100"], "statuses"),
    "ca": (["--ca-file", __file__], "no certificates"),
    "condition": (["--fail-if", "p98>1"], "at position 1"),
    "output": (["--output", "x.pdf"], ".json, .csv, .html"),
    "folder": (["--output", "nowhere/x.csv"], "cannot be written"),
    "baseline": (["--baseline", "nowhere"], "cannot be read"),
    "compare": (["--compare", "nowhere", "nowhere"], "cannot be read"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_bad_input_is_told_before_anybody_is_asked(run: Run, case: str) -> None:
    arguments, reason = FAULTY[case]

    result = run(*arguments)

    assert result.exit_code == 2 and reason in result.stderr, result.output
    assert "Traceback" not in result.output


@contextmanager
def started(server: Server, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process, for an hour unless it ends before."""
    command = [sys.executable, "-m", "manager.cli", "benchmark", "--target", f"a={server.url}", "--duration", "1h"]
    environment = settings.child_environment(None, {"LLM_PROXY_TOKEN": TOKEN})
    process = subprocess.Popen(
        [*command, "--warm-up", "0", *more],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_seen_and_no_baseline(tmp_path: Path, number: signal.Signals) -> None:
    with serving(lambda number: [Say(after=0.01)]) as server:
        outputs = ("--output", "r.json", "--output", "r.html", "--save-baseline", "base")
        with started(server, tmp_path, *outputs) as process:
            while len(server.requests) < 300 and process.poll() is None:
                time.sleep(0.01)
            os.killpg(process.pid, number)  # As a terminal does.
            shown, said = process.communicate(timeout=60)

    assert (process.returncode, said.strip()) == (130, "Interrupted.")
    assert "partial results" in shown
    kept: Any = read(tmp_path / "r.json")
    assert not kept.is_whole and kept.results[0].latency.count > 100 and kept.results[0].seconds < 3600
    assert "partial results" in (tmp_path / "r.html").read_text() and not (tmp_path / "base").exists()


def test_a_load_process_that_dies_fails_the_run_and_keeps_what_was_seen(tmp_path: Path) -> None:
    with serving(lambda number: [Say(after=0.01)]) as server:
        with started(server, tmp_path, "--output", "r.json", "--processes", "2") as process:
            while len(server.requests) < 300 and process.poll() is None:
                time.sleep(0.01)
            time.sleep(1)  # What was seen is told twice each second.
            [child, *_] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (1, "Error: A load process has ended unexpectedly.\n")
    kept = read(tmp_path / "r.json")
    assert not kept.is_whole and kept.results[0].latency.count > 100


def test_the_share_of_the_proxy_is_told_where_answers_tell_it(run: Run) -> None:
    answer = whole(headers="server-timing: proxy;dur=1, upstream;dur=3\r\n")
    with serving(lambda number: [Say(answer)]) as server:
        shown = run(*short(server)).stdout

    assert "Time within the proxy, a, 8 connections: 25 %" in shown and "upstream, as the proxy says" in shown


def test_the_open_loop_sends_what_is_due(run: Run, server: Server) -> None:
    told = json.loads(run("--target", f"a={server.url}", "--rate", "50-150", "--duration", "1s", "--json").stdout)

    assert told["results"][0]["figures"]["requests"] == 100 and told["results"][0]["load"] == "50–150/s"


def test_every_option_and_profile_is_in_the_documentation() -> None:
    told = (Path(__file__).parents[3] / "docs" / "benchmark.md").read_text()

    options = {name for parameter in benchmark.benchmark.params for name in parameter.opts}
    assert not [name for name in sorted(options) if f"`{name}" not in told and f" {name}" not in told]
    assert not [name for name in PROFILES if f"| `{name}` |" not in told]
