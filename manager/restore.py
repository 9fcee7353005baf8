"""Puts a backup into a database of either kind: checked before anything is touched, then all of it or nothing.

Redis may know later versions of what was restored than the backup has. So every version is raised above any that there
can have been, and everything is published anew: what is restored then wins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, portable, publications, schema, sealed
from manager.backup import Secrets
from manager.backup_file import BackupError, Manifest, Part, Reader, opened, pepper_mark
from manager.portable import Row
from manager.publications import Name
from manager.revocations import Revocations
from manager.sealed import SealedColumn
from manager.tables import Base, Project, Publication, Token, Tombstone
from shared.sealing import Keyring, SealingError

# Versions of restored rows are seconds since then: more than a row was ever changed, and later restores have more.
_VERSIONS_SINCE = datetime(2020, 1, 1, tzinfo=UTC)
_VERSIONED: tuple[type[Base], ...] = (Project, Token, Publication, Tombstone)
# What was revoked just before a backup is in it, whatever the clocks say.
_MARGIN = timedelta(days=1)


@dataclass(frozen=True)
class Restored:
    """What was restored, and how much that was taken away since then stayed so, by kind."""

    manifest: Manifest
    rows: int
    kept_revoked: dict[str, int] = field(default_factory=dict)


def check(path: Path, known: Secrets, *, with_pepper: bool = True) -> Manifest:
    """Read a whole backup and return what it is; nothing is changed.

    Raises BackupError unless it is undamaged, of a schema that this release knows, and opens with these keys; and
    with_pepper, unless its tokens are known by this pepper. Raises KeysMissing, OSError, too.
    """
    with opened(path, known.keyring) as reader:
        _check(reader, known, with_pepper)
        return reader.manifest


def check_target(engine: sa.Engine, *, replace: bool) -> None:
    """Raise BackupError for a database that is not to be restored into. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        _check_target(connection, replace)


def restore(
    path: Path, engine: sa.Engine, known: Secrets, now: datetime, *, replace: bool = False, with_pepper: bool = True
) -> Restored:
    """Check a backup, then put it into an empty database, or in the place of what is there; tell the audit.

    It is migrated if it is of an earlier release. Raises as check and check_target do, and PortableError.
    """
    with opened(path, known.keyring) as reader:
        _check(reader, known, with_pepper)
        return _put(reader, path.name, engine, now, replace)


def _check(reader: Reader, known: Secrets, with_pepper: bool) -> None:
    manifest = reader.manifest
    sealed.demand_ids(manifest.key_ids, known.keyring, "the backup")
    if with_pepper and manifest.pepper != pepper_mark(known.pepper):
        raise BackupError("it was made with another TOKEN_PEPPER: none of its tokens would work here")
    if manifest.schema not in schema.known():
        raise BackupError(f"its schema {manifest.schema} is of a later release; restore it with that one")
    for part in manifest.parts:
        reader.check(part)
        _read(reader, part, known.keyring)


def _put(reader: Reader, name: str, engine: sa.Engine, now: datetime, replace: bool) -> Restored:
    manifest = reader.manifest
    with schema.migrating(engine) as connection:
        _check_target(connection, replace)
        schema.upgrade_on(connection)  # What is replaced can be read then, whatever release it is of.
        revoked = Revocations.since(connection, manifest.created_at - _MARGIN)
        newest = _newest(connection)
        _drop(connection)
        schema.upgrade_on(connection, manifest.schema)
        for part in manifest.parts:
            portable.write(connection, part.table, part.columns, reader.rows(part))
        schema.upgrade_on(connection)
        with Session(connection) as session:
            restored = Restored(manifest, sum(part.rows for part in manifest.parts), revoked.apply(session, now))
            _outdo_redis(session, now, newest)
            detail = {"file": name, "created_at": manifest.created_at.isoformat(), "schema": manifest.schema}
            detail |= {"rows": restored.rows, "kept_revoked": restored.kept_revoked}  # type: ignore[dict-item]
            audit.note(session, now, audit.Source(audit.COMMAND), audit.Action.BACKUP_RESTORE, detail=detail)
            session.flush()
    return restored


def _check_target(connection: sa.Connection, replace: bool) -> None:
    try:
        revision = schema.status(connection).revision
    except schema.UnknownRevision as error:
        raise BackupError(f"the target is of a later release: {error}") from None
    filled = portable.filled(connection)
    if not replace and filled:
        raise BackupError(f"the target is not empty ({', '.join(filled)}); --replace puts the backup in its place")
    if filled and revision is None:
        raise BackupError("the target holds tables, but it does not say of which schema they are: empty it first")


def _drop(connection: sa.Connection) -> None:
    """Drop our tables, and nobody else's."""
    there = set(sa.inspect(connection).get_table_names())
    for table in reversed(portable.all_tables()):
        if table.name in there:
            table.drop(connection)
    connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")


def _newest(connection: sa.Connection) -> int:
    """Return the highest version of anything."""
    found = [connection.scalar(sa.select(sa.func.max(sa.inspect(table).columns["version"]))) for table in _VERSIONED]
    return max(version or 0 for version in found)


def _outdo_redis(session: Session, now: datetime, newest: int) -> None:
    # A clock may have been put back since an earlier restore.
    least = max(int((now - _VERSIONS_SINCE).total_seconds()), newest + 1)
    for name in Name:
        publications.touch(session, name, now)  # Also if there are none: Redis may know some.
    for table in _VERSIONED:
        columns: Any = sa.inspect(table).columns
        version = sa.case((columns["version"] >= least, columns["version"] + 1), else_=least)
        values = {"version": version} | ({"published_version": 0} if "published_version" in columns else {})
        session.execute(sa.update(table).values(values).execution_options(synchronize_session=False))


def _read(reader: Reader, part: Part, keyring: Keyring) -> None:
    """Raise BackupError unless each row has its columns, and each sealed value opens."""
    column = next((column for column in sealed.COLUMNS if column.table.name == part.table), None)
    for rows in reader.rows(part):
        if any(len(row) != len(part.columns) for row in rows):
            raise BackupError(f"{part.file} has rows of another width")
        for key, value in _sealed(part, column, rows):
            try:
                keyring.open(value, key)
            except SealingError as error:
                raise BackupError(f"a sealed value in {part.file} does not open: {error}") from None


def _sealed(part: Part, column: SealedColumn | None, rows: list[Row]) -> Iterator[tuple[str, str]]:
    """Return each sealed value with what it is bound to."""
    if column is None:
        return
    key, value = part.columns.index(column.key.name), part.columns.index(column.name)
    is_uuid = isinstance(column.key.type, sa.Uuid)
    for row in rows:
        yield column.place(UUID(row[key]) if is_uuid else row[key]), row[value]
