"""Rows in a form that both databases give and take, and one moment of a whole database to read them from.

It is the form in which SQLite keeps them: 32 hexadecimal digits for an id, `YYYY-MM-DD HH:MM:SS.ffffff` in UTC for a
time, 0 or 1 for a truth value, text for JSON. The databases do the work, and nothing is made into objects of ours.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from manager import db
from manager.tables import PASSING, Base

BATCH = 2000
_CHECKSUM_BYTES = 16

type Row = tuple[Any, ...]


class PortableError(Exception):
    """A database does not take rows; names the table and the rule, and quotes no row."""


def tables() -> list[sa.Table]:
    """Return every table whose rows are kept, those first that others refer to."""
    return [table for table in all_tables() if not table.info.get(PASSING)]


def all_tables() -> list[sa.Table]:
    """Return those as well whose rows belong to one installation at one time, and are neither copied nor kept."""
    return list(Base.metadata.sorted_tables)


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Everything as it was at one moment. Nobody waits for it, and it takes the time that it needs."""
    is_sqlite = engine.dialect.name == "sqlite"
    one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    options: dict[str, Any] = {db.READING: True} if is_sqlite else one_moment
    with engine.connect().execution_options(**options) as connection, connection.begin():
        if not is_sqlite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection


def read(connection: sa.Connection, table: sa.Table, batch: int = BATCH) -> Iterator[list[Row]]:
    """Return a table's rows in batches, columns in the order of the mapping, rows in none."""
    is_sqlite = connection.dialect.name == "sqlite"
    columns = ", ".join(_quoted(column.name) if is_sqlite else _told(column) for column in table.columns)
    query = f"SELECT {columns} FROM {_quoted(table.name)}"  # noqa: S608 - our names
    streaming = {"stream_results": True, "max_row_buffer": batch}
    with connection.exec_driver_sql(query, execution_options=streaming) as result:
        for rows in result.partitions(batch):
            yield [tuple(row) for row in rows]


def write(connection: sa.Connection, table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> int:
    """Put rows into a table; return how many. Raises PortableError, SQLAlchemyError."""
    if connection.dialect.name == "sqlite":
        return _insert(connection, table, columns, batches)
    connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
    try:
        return _copy(connection, table, columns, batches)
    except psycopg.Error as error:
        raise PortableError(f"{table}: {error.diag.message_primary or type(error).__name__}") from None


def encode(row: Row) -> bytes:
    """Return a row as a JSON list in one line."""
    return orjson.dumps(row)


class Checksum:
    """The number of rows, and a sum over them that does not depend on their order."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Take in rows."""
        for row in rows:
            digest = hashlib.blake2b(encode(row), digest_size=_CHECKSUM_BYTES).digest()
            self._sum += int.from_bytes(digest, "big")
            self.rows += 1

    def value(self) -> tuple[int, int]:
        """Return both."""
        return self.rows, self._sum % 2 ** (8 * _CHECKSUM_BYTES)


def checksum(connection: sa.Connection, table: sa.Table) -> tuple[int, int]:
    """Return the checksum of all rows of a table."""
    found = Checksum()
    for rows in read(connection, table):
        found.add(rows)
    return found.value()


def filled(connection: sa.Connection) -> list[str]:
    """Return those of our tables that are there and hold rows."""
    there = set(sa.inspect(connection).get_table_names())
    ours = [table for table in tables() if table.name in there]
    return [table.name for table in ours if connection.scalar(sa.select(sa.exists().select_from(table)))]


def _insert(connection: sa.Connection, table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> int:
    places = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {_quoted(table)} ({_names(columns)}) VALUES ({places})"  # noqa: S608 - our names
    count = 0
    for rows in batches:
        if rows:
            connection.exec_driver_sql(statement, list(rows))
        count += len(rows)
    return count


def _copy(connection: sa.Connection, table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> int:
    statement = f"COPY {_quoted(table)} ({_names(columns)}) FROM STDIN"
    count = 0
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in batches:
            for row in rows:
                copy.write_row(row)
            count += len(rows)
    return count


def _told(column: sa.Column[Any]) -> str:
    """Return how PostgreSQL is asked for a column in the portable form."""
    name = _quoted(column.name)
    kind = column.type.impl_instance if isinstance(column.type, sa.types.TypeDecorator) else column.type
    if isinstance(kind, sa.Uuid):
        return f"replace({name}::text, '-', '')"
    if isinstance(kind, sa.DateTime):
        return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    if isinstance(kind, sa.Boolean):
        return f"{name}::int"
    if isinstance(kind, sa.Float):
        return f"{name} + 0.0"  # SQLite knows no negative zero.
    return f"{name}::text" if isinstance(kind, sa.JSON) else name


_quote = sqlite.dialect().identifier_preparer.quote_identifier


def _quoted(name: str) -> str:
    return _quote(name)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_quoted, columns))
