"""Rules that hold for every command: documented, usable by programs, plain where that is wanted, and never a crash."""

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manager.cli import main
from manager.cli.tree import Entry, walk
from shared import settings
from tests.terminal import Terminal

ROOT = Path(__file__).parents[3]
LLM_PROXY = str(Path(sys.executable).with_name("llm-proxy"))
ENTRIES = {entry.path: entry for entry in walk(main, "llm-proxy")}
COMMANDS = [path for path, entry in ENTRIES.items() if not entry.is_group]
# These run until they are stopped, and print no result.
PROGRAMS = {"up", "proxy", "manager", "jobs", "inspect", "mock-provider", "flows serve"}
# What these print is for a shell, or of a format of its own.
OF_THEIR_OWN = {"completion", "audit export"}
ESCAPE = "\x1b"


def options(entry: Entry) -> set[str]:
    return {name for parameter in entry.command.params for name in parameter.opts}


def arguments(entry: Entry) -> list[str]:
    return entry.path.split()[1:]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment with nothing of ours but an empty data folder."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize("path", COMMANDS)
def test_what_prints_results_prints_json_as_well(path: str) -> None:
    is_without = path.removeprefix("llm-proxy ") in PROGRAMS | OF_THEIR_OWN

    assert ("--json" in options(ENTRIES[path])) is not is_without


def test_what_is_said_to_be_an_exception_is_there() -> None:
    assert {f"llm-proxy {name}" for name in PROGRAMS | OF_THEIR_OWN} <= set(COMMANDS)


@pytest.mark.parametrize("path", ENTRIES)
def test_help_explains_the_command_and_each_of_its_options(path: str) -> None:
    entry = ENTRIES[path]

    shown = CliRunner().invoke(main, [*arguments(entry), "--help"])

    assert shown.exit_code == 0 and entry.command.help and shown.output.startswith("Usage:")
    named = [each for each in entry.command.params if isinstance(each, click.Option) and each.opts != ["--dialect"]]
    assert [each.name for each in named if not each.help and not each.hidden and not _is_plain(each)] == []


def _is_plain(option: click.Option) -> bool:
    """Whether its name and its choices or default say all."""
    return isinstance(option.type, click.Choice | click.IntRange) or option.name in ("host",)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("path", ENTRIES)
def test_an_option_that_is_not_known_is_bad_input(path: str) -> None:
    shown = CliRunner().invoke(main, [*arguments(ENTRIES[path]), "--nonsense"])

    assert shown.exit_code == 2 and "Traceback" not in shown.output
    assert "--nonsense" in shown.output and "--help" in shown.output


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("path", [path for path in COMMANDS if path.removeprefix("llm-proxy ") not in PROGRAMS])
def test_called_with_nothing_on_an_empty_machine_it_ends_in_plain_words(path: str) -> None:
    shown = CliRunner().invoke(main, arguments(ENTRIES[path]), input="")

    assert shown.exit_code in (0, 1, 2, 3), shown.output
    assert "Traceback" not in shown.output and "in llm-proxy itself" not in shown.output and ESCAPE not in shown.output
    if shown.exit_code == 2:
        assert re.search(r"^(Error: |Usage: )", shown.output, re.M)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("command", [["doctor"], ["provider", "--help"], ["config", "show"], ["project", "list"]])
def test_a_terminal_that_wants_no_colour_gets_no_escape_codes(command: list[str], tmp_path: Path) -> None:
    environment = settings.child_environment(None, {"LLM_PROXY_DATA_DIR": str(tmp_path)})
    with Terminal([LLM_PROXY, *command], environment | {"NO_COLOR": "1"}) as plain:
        plain.ended()

    assert len(plain.raw) > 50 and ESCAPE.encode() not in plain.raw


@pytest.mark.parametrize("command", [["doctor"], ["config", "show"]])
def test_a_terminal_gets_colours_or_bold_otherwise(command: list[str], tmp_path: Path) -> None:
    environment = settings.child_environment(None, {"LLM_PROXY_DATA_DIR": str(tmp_path)})
    environment.pop("NO_COLOR", None)
    with Terminal([LLM_PROXY, *command], environment) as drawn:
        drawn.ended()

    assert ESCAPE.encode() in drawn.raw


def test_the_page_of_all_commands_is_up_to_date() -> None:
    shown = CliRunner().invoke(main, ["reference"])

    assert shown.output == (ROOT / "docs" / "commands.md").read_text(), "run scripts/lint"


def test_the_page_of_all_commands_has_each_of_them() -> None:
    headings = re.findall(r"^##+ (.+)$", (ROOT / "docs" / "commands.md").read_text(), re.M)

    assert headings == [path.removeprefix("llm-proxy ") for path in ENTRIES]
