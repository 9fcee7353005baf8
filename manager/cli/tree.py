"""All commands, from the outermost group down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Entry:
    """A command with its context, as its help is made of. `path` is how it is called."""

    path: str
    command: click.Command
    context: click.Context

    @property
    def is_group(self) -> bool:
        """Whether it only has others below it."""
        return isinstance(self.command, click.Group)


def walk(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[Entry]:
    """Give a command and all below it that help shows, in the order in which it does."""
    # Help must not depend on the width of somebody's terminal.
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    yield Entry(context.command_path, command, context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from walk(found, below, context)
