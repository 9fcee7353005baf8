"""The schema's version: brought up or back one process at a time, however many start at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util.exc import CommandError

from manager.transactions import persistently

_MIGRATIONS = Path(__file__).with_name("migrations")
# Any number, as long as it is the same in every release.
_LOCK = 0x11A9_0C1E
_TOMBSTONES = "tombstones"
_SQLITE_PATIENCE_MS = 600_000
# Indexes of tables that are filled or made anew are written again and again.
_SQLITE_CACHE_KB = 128 * 1024
# Whoever waits for a table also holds up all that come later, so a migration is rather given up.
_TABLE_PATIENCE = "30s"


class UnknownRevision(Exception):
    """A revision that this release does not have."""


class DowngradeRefused(Exception):
    """A schema cannot be taken back yet; says why."""


@dataclass(frozen=True)
class Status:
    """Which revision a database is at (None: no table of ours), which one is the newest, and what lies between."""

    revision: str | None
    head: str
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Tell whether this release can work with it."""
        return self.revision == self.head


@contextmanager
def migrating(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in which nobody else migrates: others wait, and find the work done. All of it holds, or nothing."""
    with engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            _driver(connection, f"PRAGMA busy_timeout={_SQLITE_PATIENCE_MS}")
            _driver(connection, f"PRAGMA cache_size=-{_SQLITE_CACHE_KB}")
        try:
            with connection.begin():  # SQLite's write lock is taken here.
                if not is_sqlite:
                    _lock(connection)
                yield connection
        finally:
            if is_sqlite:
                connection.invalidate()  # It is too patient for others, and takes too much memory.


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema up to a revision. Raises UnknownRevision if a later release has made it."""

    def attempt() -> None:
        with migrating(engine) as connection:
            upgrade_on(connection, revision)

    persistently(attempt)  # Services that run may hold tables in another order.


def upgrade_on(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema up within a transaction of `migrating`."""
    with _known():
        alembic.command.upgrade(config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the schema back to a revision, or `base`: what only later ones know is lost.

    Raises UnknownRevision; DowngradeRefused if something that was purged would stay in Redis.
    """
    with migrating(engine) as connection:
        waiting = _tombstones(connection)
        with _known():
            alembic.command.downgrade(config(connection), revision)
        if waiting and _TOMBSTONES not in sa.inspect(connection).get_table_names():
            raise DowngradeRefused(
                f"Redis has not heard of {waiting} purged projects and tokens, which would stay usable; first let "
                "`llm-proxy jobs` run for a moment while Redis is there"
            )


def status(connection: sa.Connection) -> Status:
    """Tell the schema's version. Raises UnknownRevision if a later release has made it."""
    scripts = ScriptDirectory(str(_MIGRATIONS))
    [head] = scripts.get_heads()
    revision = MigrationContext.configure(connection).get_current_revision()
    with _known():
        steps = [] if revision == head else list(scripts.iterate_revisions(head, revision or "base"))
    return Status(revision, head, tuple(step.revision for step in reversed(steps)))


def known() -> set[str]:
    """Return every revision that this release has."""
    return {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}


def is_current(connection: sa.Connection) -> bool:
    """Tell whether the schema is the one that this release expects."""
    found = MigrationContext.configure(connection).get_current_heads()
    return set(found) == set(ScriptDirectory(str(_MIGRATIONS)).get_heads())


def config(connection: sa.Connection) -> alembic.config.Config:
    """Return alembic's configuration, bound to an open connection (see migrations/env.py)."""
    made = alembic.config.Config()
    made.set_main_option("script_location", str(_MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def _tombstones(connection: sa.Connection) -> int:
    if _TOMBSTONES not in sa.inspect(connection).get_table_names():
        return 0
    return connection.scalar(sa.select(sa.func.count()).select_from(sa.table(_TOMBSTONES))) or 0


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except (CommandError, RevisionError) as error:
        raise UnknownRevision(f"this release does not know the schema's revision: {error}") from None


def _lock(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TABLE_PATIENCE}'")


def _driver(connection: sa.Connection, statement: str) -> None:
    driver = connection.connection.driver_connection
    if driver is not None:
        driver.execute(statement)
