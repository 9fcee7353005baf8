"""Rules of `llm-proxy drain` and `reload` where there is no proxy to tell. With one: tests/journeys/test_workers.py."""

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from manager.cli import main
from manager.running import Post

COMMANDS = ["drain", "reload"]


@pytest.mark.parametrize("command", COMMANDS)
def test_where_nothing_runs_it_says_so(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))

    shown = CliRunner().invoke(main, [command])

    assert shown.exit_code == 1
    assert shown.output.startswith(f"Error: No proxy is running on {tmp_path}.\nHint: LLM_PROXY_DATA_DIR")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_left_over_is_nothing_that_runs(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    with closing(Post(tmp_path, 8080, 1)):
        [file] = (tmp_path / "run").iterdir()
        left = file.read_text()
    file.write_text(left)

    # Its number is that of this very process, which would not survive the signal.
    assert CliRunner().invoke(main, [command]).exit_code == 1


def test_it_waits_for_no_negative_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))

    assert CliRunner().invoke(main, ["drain", "--timeout", "-1"]).exit_code == 2


def test_faulty_settings_are_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", "~nobody-of-this-name/data")

    shown = CliRunner().invoke(main, ["reload", "--json"])

    assert shown.exit_code == 2 and "LLM_PROXY_DATA_DIR" in shown.output
