"""The database commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import click

from manager.cli import shown as output
from manager.cli.options import json_option
from manager.cli.start import start_here
from shared.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

_HIDDEN = "***"


@click.group()
def db() -> None:
    """Look after the SQL database."""


@db.command()
@json_option
def upgrade(is_json: bool) -> None:
    """Bring the schema to the version that this release needs. Several may do so at once: one does, others wait."""
    from manager import schema

    with database() as (settings, engine):
        schema.upgrade(engine)
    url = shown(settings.database_url)
    _tell(is_json, f"schema is current: {url}", database_url=url, is_current=True)


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def downgrade(revision: str, yes: bool, is_json: bool) -> None:
    """Take the schema back to REVISION, as another release needs it; `base` is an empty database.

    What only later releases know is lost. Stop manager and jobs before, and make a backup. Refused while Redis has not
    heard of everything that was purged.
    """
    from manager import schema

    with database() as (settings, engine):
        if not yes:
            click.confirm(
                f"Take back the schema of {shown(settings.database_url)}, and lose what it holds?", abort=True
            )
        schema.downgrade(engine, revision)
    _tell(is_json, f"schema is at {revision}", revision=revision)


@db.command()
@json_option
def status(is_json: bool) -> None:
    """Show the schema's version; exit code 1 if it is not the one that this release needs."""
    from manager import schema

    with database() as (_, engine), engine.connect() as connection:
        found = schema.status(connection)
    told = {"revision": found.revision, "needed": found.head, "pending": list(found.pending)}
    _tell(is_json, f"schema {found.revision or 'none'}, needed {found.head}", **told)
    if not found.is_current:
        raise click.ClickException(f"to be applied: {', '.join(found.pending)}; run `llm-proxy db upgrade`")


@db.command()
@click.option("--to", "target", help="URL of the target if it holds no password; LLM_PROXY_COPY_TO by default.")
@json_option
def copy(target: str | None, is_json: bool) -> None:
    """Copy everything in DATABASE_URL to an empty database, such as SQLite to PostgreSQL.

    Stop manager and jobs before: what they write meanwhile is not copied.
    """
    import sqlalchemy as sa

    from manager import database_copy
    from manager.database_copy import CopyRefused
    from manager.db import Tuning
    from manager.portable import PortableError

    with database() as (settings, source):
        url = _target(target, settings.copy_to)
        try:
            counts = database_copy.copy_to(source, url, Tuning.of(settings), datetime.now(UTC))
        except (CopyRefused, PortableError) as error:
            raise click.ClickException(str(error)) from None
        except (sa.exc.ArgumentError, TypeError, ValueError):  # Their words may quote a part of the password.
            raise click.ClickException("the target's URL is malformed") from None
    lines = [f"{count:>10} {name}" for name, count in counts.items()]
    lines.append(f"copied and verified; set DATABASE_URL to {shown(url)}")
    _tell(is_json, "\n".join(lines), rows=dict(counts), database_url=shown(url))


def _tell(is_json: bool, text: str, **told: object) -> None:
    if is_json:
        output.as_json(told)
    else:
        click.echo(text)


def _target(given: str | None, variable: str) -> str:
    import sqlalchemy as sa

    if not (url := given or variable):
        raise click.UsageError("set LLM_PROXY_COPY_TO to the URL of the target")
    if given:
        try:
            if (parsed := sa.make_url(given)).password or _secrets(parsed):
                raise click.UsageError("others on this machine can read arguments; give the URL in LLM_PROXY_COPY_TO")
        except sa.exc.ArgumentError:
            raise click.UsageError("--to is no URL of a database") from None
    return url


@contextmanager
def database() -> Iterator[tuple[Settings, sa.Engine]]:
    """The settings and an engine on their database; what goes wrong there is told in plain words."""
    import sqlalchemy as sa

    from manager import schema
    from manager.db import open_engine, reason

    settings = start_here()
    engine = open_engine(settings)
    try:
        yield settings, engine
    except sa.exc.SQLAlchemyError as error:
        raise click.ClickException(f"DATABASE_URL: {reason(error)}") from None
    except (schema.UnknownRevision, schema.DowngradeRefused) as error:
        raise click.ClickException(str(error)) from None
    finally:
        engine.dispose()


def shown(url: str) -> str:
    """Return a database's URL without its passwords, wherever in it they are."""
    import sqlalchemy as sa

    parsed = sa.make_url(url)
    hidden = parsed.update_query_dict(dict.fromkeys(_secrets(parsed), _HIDDEN))
    return hidden.render_as_string(hide_password=True).replace(quote_plus(_HIDDEN), _HIDDEN)


def _secrets(url: sa.URL) -> list[str]:
    """Return the parameters of a URL that nobody is to see, such as `password` and `sslpassword`."""
    return [name for name in url.query if any(word in name.lower() for word in ("password", "passwd", "secret"))]
