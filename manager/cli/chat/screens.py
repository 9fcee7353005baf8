"""Where answers are shown: rendered in a terminal, as plain text anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click


class Plain:
    """Text as it comes, and nothing else; what is ours goes to standard error."""

    def answer(self, pieces: Iterable[str]) -> str:
        """Write pieces as they come."""
        said = []
        for piece in pieces:
            said.append(piece)
            sys.stdout.write(_printable(piece))
            sys.stdout.flush()
        if said and not said[-1].endswith("\n"):
            sys.stdout.write("\n")
        return "".join(said)

    def say(self, text: str) -> None:
        """Write a line to standard error."""
        click.echo(text, err=True)


class Quiet:
    """Shows no answer: somebody else prints it."""

    def answer(self, pieces: Iterable[str]) -> str:
        """Only listen."""
        return "".join(pieces)

    def say(self, text: str) -> None:
        """Write a line to standard error."""
        click.echo(text, err=True)


class Rendered:
    """Markdown, drawn anew as it grows, in a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def answer(self, pieces: Iterable[str]) -> str:
        """Draw pieces as they come; the whole answer stays on the screen when it has ended."""
        from rich.live import Live
        from rich.markdown import Markdown

        text = ""
        with Live(console=self._console, refresh_per_second=12, vertical_overflow="visible") as live:
            for piece in pieces:
                text += _printable(piece)
                live.update(Markdown(text))
        return text

    def say(self, text: str) -> None:
        """Show a line of our own."""
        from rich.text import Text

        self._console.print(Text(_printable(text), style="dim"))


def typed() -> Iterator[str]:
    """Give what is typed; a backslash at its end joins a line to the next. Ctrl-D ends it, Ctrl-C clears the line."""
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession()
    while True:
        lines = []
        try:
            line = session.prompt("> ")
            while line.endswith("\\"):
                lines.append(line[:-1])
                line = session.prompt(". ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        yield "\n".join([*lines, line])


def _printable(text: str) -> str:
    """Take out what would steer the terminal: a model may say anything."""
    return "".join(character if character in "\n\t" or character.isprintable() else "\ufffd" for character in text)
