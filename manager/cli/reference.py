"""`llm-proxy reference`: docs/commands.md, made of the help of all commands."""

from __future__ import annotations

import inspect
import re
import textwrap

import click

from manager.cli.tree import Entry, walk

_HEAD = """\
# Commands

Every command with its usage and options, as `llm-proxy COMMAND --help` tells them. This page is made of that by
`scripts/lint`; what the commands are for is in [cli.md](cli.md).
"""


@click.command(hidden=True)
@click.pass_context
def reference(context: click.Context) -> None:
    """Print the page of all commands in Markdown."""
    entries = list(walk(context.find_root().command, "llm-proxy"))
    click.echo("\n".join([_HEAD, *map(_section, entries)]), nl=False)


def examples(command: click.Command) -> list[str]:
    """Return the examples in a command's help: the lines of its paragraphs that are not wrapped."""
    text = inspect.cleandoc(command.help or "")
    return [line.strip() for part in re.findall(r"^\x08\n((?:.+\n?)+)", text, re.M) for line in part.splitlines()]


def _section(entry: Entry) -> str:
    name = entry.path.removeprefix("llm-proxy ")
    depth = 2 if entry.path.count(" ") < 2 else 3
    usage = " ".join([entry.path, *entry.command.collect_usage_pieces(entry.context)])
    parts = [f"{'#' * depth} {name}", f"    {usage}", _prose(entry.command.help or ""), _options(entry)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prose(text: str) -> str:
    """Return help as Markdown: unwrapped paragraphs are examples."""
    shown = []
    for part in re.split(r"\n{2,}", inspect.cleandoc(text)):
        if part.startswith("\x08\n"):
            shown.append(f"```sh\n{part.removeprefix(chr(8) + chr(10))}\n```")
        else:
            shown.append(textwrap.fill(" ".join(part.split()), 120, break_long_words=False, break_on_hyphens=False))
    return "\n\n".join(shown)


def _options(entry: Entry) -> str:
    records = [parameter.get_help_record(entry.context) for parameter in entry.command.get_params(entry.context)]
    rows = [(names, told) for names, told in filter(None, records) if "--help" not in names]
    if not rows:
        return ""
    cells = [f"| `{names.replace('|', chr(92) + '|')}` | {_cell(told)} |" for names, told in rows]
    return "\n".join(["| Option | |", "| --- | --- |", *cells])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
