"""The database commands."""

import click
import sqlalchemy as sa

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
    database.migrate(settings.database_url)
    click.echo(f"schema is current: {sa.make_url(settings.database_url).render_as_string(hide_password=True)}")
