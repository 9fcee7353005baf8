"""The commands for the keys in ENCRYPTION_KEYS."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import click

from manager.cli import shown
from manager.cli.database import database
from manager.cli.options import json_option


@click.group()
def keys() -> None:
    """Look after the keys that seal what is secret in the database."""


@keys.command()
@json_option
def rotate(is_json: bool) -> None:
    """Seal everything with the first key of ENCRYPTION_KEYS, while the services run.

    Restart them with the new key in front first. Killed midway, it goes on when it is run again; what is done needs
    nothing. Exit code 1 if a value does not open.
    """
    from manager import db, key_rotation

    with database() as (settings, engine):
        rotation = key_rotation.rotate(db.create_sessions(engine), settings.encryption_keys, datetime.now(UTC))
    if is_json:
        unopened = list(rotation.unopened.values())
        shown.as_json(
            {"key": settings.encryption_keys.primary, "sealed": dict(rotation.rewrapped), "left_as_it_is": unopened}
        )
    else:
        told = ", ".join(f"{count} in {name}" for name, count in sorted(rotation.rewrapped.items()))
        click.echo(f"sealed with {settings.encryption_keys.primary}: {told or 'nothing to do'}")
    for reason in rotation.unopened.values():
        click.echo(f"left as it is: {reason}", err=True)
    if rotation.unopened:
        raise SystemExit(1)


@keys.command()
@json_option
def status(is_json: bool) -> None:
    """Show how many values each key seals; exit code 1 if one is missing in ENCRYPTION_KEYS."""
    from manager import db, sealed

    with database() as (settings, engine), db.reading(db.create_sessions(engine)) as session:
        found, waiting = sealed.in_use(session), sealed.unpublished(session)
    ring, rows = settings.encryption_keys, []
    for name in [*ring.keys, *sorted(found.keys() - ring.keys.keys())]:
        state = "seals" if name == ring.primary else "opens" if name in ring.keys else "MISSING"
        rows.append({"key": name, "state": state.lower(), "seals": dict(found.get(name, Counter[str]()))})
    if is_json:
        shown.as_json({"keys": rows, "unpublished_projects": waiting})
    else:
        _show(rows, waiting)
    if found.keys() - ring.keys.keys():
        raise SystemExit(1)


def _show(rows: list[dict[str, Any]], waiting: int) -> None:
    for row in rows:
        told = ", ".join(f"{count} in {table}" for table, count in sorted(row["seals"].items()))
        state = row["state"].upper() if row["state"] == "missing" else row["state"]
        click.echo(f"{row['key'] or '(no sealed value)'}: {state}; {told or 'nothing is sealed with it'}")
    if waiting:
        click.echo(f"{waiting} projects have changes that are not published to Redis yet")
