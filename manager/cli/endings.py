"""How commands end: 0 well, 1 it is not so, 2 bad input, 3 network, 4 refused by the server, 130 Ctrl-C."""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from shared import settings as environment

INTERRUPTED = 130


class Unreachable(click.ClickException):
    """Nobody answers, or not sensibly."""

    exit_code = 3


class Refused(click.ClickException):
    """The server says no."""

    exit_code = 4


def hinted(reason: str, hint: str) -> str:
    """Return one line of what is wrong, and one of what to do."""
    return f"{reason}\nHint: {hint}" if hint else reason


class EndingGroup(click.Group):
    """The outermost group: whatever happens, it ends with a code that means something, and shows no traceback."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **more: Any
    ) -> Any:
        """Run a command; see the module for exit codes. `--debug` before it shows what went wrong in our own code."""
        if environment.wants_no_colour():
            more.setdefault("color", False)
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **more)
        try:
            ended = super().main(args, prog_name, standalone_mode=False, **more)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()  # Whoever read our output has enough of it: that is no fault.
            sys.exit(0)
        except Exception as error:
            if is_debugging():
                traceback.print_exc()
            click.echo(f"Error: {type(error).__name__} in llm-proxy itself; --debug shows where.", err=True)
            sys.exit(1)
        sys.exit(ended if isinstance(ended, int) else 0)


_debugging = False


def debug(_: click.Context, __: click.Parameter, is_wanted: bool) -> None:
    """Take in the option --debug."""
    global _debugging  # noqa: PLW0603 - one command runs in one process
    _debugging = is_wanted


def is_debugging() -> bool:
    """Tell whether tracebacks are wanted."""
    return _debugging
