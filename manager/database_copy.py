"""Moves everything from one database to another one of either kind, and makes sure that it has arrived."""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db, portable, schema


class CopyRefused(Exception):
    """A database cannot be copied from, or to; says why."""


def copy(source: sa.Engine, target: sa.Engine, now: datetime) -> dict[str, int]:
    """Copy all rows as they are at this moment into an empty target; return how many each table has.

    The target is migrated if need be, and gets everything or nothing. Raises CopyRefused, PortableError,
    SQLAlchemyError.
    """
    with portable.snapshot(source) as origin:
        if not schema.status(origin).is_current:
            raise CopyRefused("the source has another schema; run `llm-proxy db upgrade` on it first")
        with schema.migrating(target) as connection:
            schema.upgrade_on(connection)
            if filled := portable.filled(connection):
                raise CopyRefused(f"the target is not empty: {', '.join(filled)}")
            counts = {table.name: _copy(origin, connection, table) for table in portable.tables()}
            detail = {"rows": counts, "from": source.dialect.name, "to": target.dialect.name}
            with Session(connection) as session:
                audit.note(session, now, audit.Source(audit.COMMAND), audit.Action.DATABASE_COPY, detail=detail)
    return counts


def copy_to(source: sa.Engine, url: str, tuning: db.Tuning, now: datetime) -> dict[str, int]:
    """Copy to the database at a URL; see copy."""
    target = db.create_engine(url, tuning)
    try:
        return copy(source, target, now)
    finally:
        target.dispose()


def _copy(origin: sa.Connection, target: sa.Connection, table: sa.Table) -> int:
    sent = portable.Checksum()

    def rows() -> Iterator[list[portable.Row]]:
        for batch in portable.read(origin, table):
            sent.add(batch)
            yield batch

    portable.write(target, table.name, [column.name for column in table.columns], rows())
    if portable.checksum(target, table) != sent.value():
        raise CopyRefused(f"{table.name} did not arrive as it was sent; nothing has been changed")
    return sent.rows
