"""The database commands."""

import click

from manager.cli.start import start
from shared.settings import Plane


@click.group()
def db() -> None:
    """Look after the SQL database."""


@db.command()
def upgrade() -> None:
    """Bring the schema to the version that this release needs."""
    import sqlalchemy as sa

    from manager.db import migrate, reason

    settings = start(Plane.CONTROL)
    try:
        migrate(settings.database_url)
    except sa.exc.SQLAlchemyError as error:
        raise click.ClickException(f"DATABASE_URL: {reason(error)}") from None
    click.echo(f"schema is current: {sa.make_url(settings.database_url).render_as_string(hide_password=True)}")
