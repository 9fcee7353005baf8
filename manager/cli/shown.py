"""What commands print: tables and words for people, JSON with --json; colours only where a terminal shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from shared import settings as environment

# Widest value in a table; the rest is in --json.
WIDEST = 60


def as_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], nothing: str = "Nothing fits.") -> None:
    """Print rows as a table; without a terminal, as columns of plain text."""
    found = [[plain(row.get(column)) for column in columns] for row in rows]
    if not found:
        click.echo(nothing)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column.replace("_", " "), overflow="fold", no_wrap=False)
    for values in found:
        drawn.add_row(*map(Text, values))
    plainly: dict[str, Any] = {"color_system": None} if environment.wants_no_colour() else {}
    console = Console(highlight=False, **plainly)
    if not console.is_terminal:
        console = Console(highlight=False, **plainly, width=max(200, *(sum(map(len, values)) + 40 for values in found)))
    console.print(drawn)


def details(value: Mapping[str, Any]) -> None:
    """Print one thing, a line for each of its fields."""
    width = max((len(name) for name in value), default=0)
    for name, content in value.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {plain(content, None)}")


def plain(value: Any, widest: int | None = WIDEST) -> str:
    """Return a value as people read it, on one line and without control characters.

    >>> plain(None), plain(True), plain(["a", "b"])
    ('–', 'yes', 'a, b')
    """
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        text = ", ".join(map(str, value))
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if widest is None or len(text) <= widest else f"{text[: widest - 1]}…"


def repeatedly(show: Callable[[], None], seconds: float | None) -> None:
    """Show once, or again and again until Ctrl-C, each time in the place of the last."""
    show()
    while seconds is not None:
        time.sleep(seconds)
        click.clear()
        show()
