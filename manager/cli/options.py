"""Options that many commands have, and values that the command line knows beside text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

# What clears a value that may be missing.
NONE = "none"

json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON.")
url_option = click.option(
    "--url", metavar="URL", help="The management service; else LLM_PROXY_MANAGER_URL, else that of this machine."
)
watch_option = click.option(
    "--watch", type=click.FloatRange(0.2), metavar="SECONDS", help="Show it again and again, so often, until Ctrl-C."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all that ask the API."""
    return json_option(url_option(command))


class Json(click.ParamType[Any]):
    """A JSON value, or `@file` with one."""

    name = "json"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Read a value."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(Path(value[1:]).read_text() if value.startswith("@") else value)
        except OSError as error:
            self.fail(f"{value[1:]} cannot be read: {error.strerror}", parameter, context)
        except ValueError as error:
            self.fail(f"is no JSON: {error}", parameter, context)


class Whole(click.ParamType[Any]):
    """A whole number, or `none`."""

    name = "number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Read a value."""
        if value is None or isinstance(value, int) or value == NONE:
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {NONE}", parameter, context)


def secret_from(source: str | None, what: str) -> str:
    """Return a secret from a file, `-` for standard input, or as typed; never from the command line, which others see.

    Raises UsageError.
    """
    if source is None:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"Give the {what} in a file with --{what.replace(' ', '-')}-file; - is standard input."
            )
        return str(click.prompt(what.capitalize(), hide_input=True))
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"The file with the {what} cannot be read.") from None
    if not text.strip():
        raise click.UsageError(f"There is no {what} in it.")
    return text.strip()


def confirm(question: str, is_sure: bool) -> None:
    """Ask before something that cannot be undone. Raises Abort, or UsageError where nobody can be asked."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: add --yes.")
    click.confirm(question, abort=True)
