"""The commands for the keys in ENCRYPTION_KEYS."""

from collections import Counter
from datetime import UTC, datetime

import click

from manager.cli.database import database


@click.group()
def keys() -> None:
    """Look after the keys that seal what is secret in the database."""


@keys.command()
def rotate() -> None:
    """Seal everything with the first key of ENCRYPTION_KEYS, while the services run.

    Restart them with the new key in front first. Killed midway, it goes on when it is run again; what is done needs
    nothing. Exit code 1 if a value does not open.
    """
    from manager import db, key_rotation

    with database() as (settings, engine):
        rotation = key_rotation.rotate(db.create_sessions(engine), settings.encryption_keys, datetime.now(UTC))
    told = ", ".join(f"{count} in {table}" for table, count in sorted(rotation.rewrapped.items())) or "nothing to do"
    click.echo(f"sealed with {settings.encryption_keys.primary}: {told}")
    for reason in rotation.unopened.values():
        click.echo(f"left as it is: {reason}", err=True)
    if rotation.unopened:
        raise SystemExit(1)


@keys.command()
def status() -> None:
    """Show how many values each key seals; exit code 1 if one is missing in ENCRYPTION_KEYS."""
    from manager import db, sealed

    with database() as (settings, engine), db.reading(db.create_sessions(engine)) as session:
        found, waiting = sealed.in_use(session), sealed.unpublished(session)
    ring, nothing = settings.encryption_keys, Counter[str]()
    for name in [*ring.keys, *sorted(found.keys() - ring.keys.keys())]:
        state = "seals" if name == ring.primary else "opens" if name in ring.keys else "MISSING"
        counts = found.get(name, nothing)
        told = (
            ", ".join(f"{count} in {table}" for table, count in sorted(counts.items())) or "nothing is sealed with it"
        )
        click.echo(f"{name or '(no sealed value)'}: {state}; {told}")
    if waiting:
        click.echo(f"{waiting} projects have changes that are not published to Redis yet")
    if found.keys() - ring.keys.keys():
        raise SystemExit(1)
