"""The database commands."""

import click

from manager import db as database
from manager.cli.start import start
from shared.settings import Plane


@click.group()
def db() -> None:
    """Look after the SQL database."""


@db.command()
def upgrade() -> None:
    """Bring the schema to the version that this release needs."""
    settings = start(Plane.CONTROL)
    engine = database.create_engine(settings.database_url)
    database.upgrade(engine)
    click.echo(f"schema is current: {engine.url.render_as_string(hide_password=True)}")
