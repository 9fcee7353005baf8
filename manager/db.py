"""The door to SQL: engine and sessions for SQLite and PostgreSQL, and the schema's version."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from manager import schema
from manager.transactions import CommitUnknown as CommitUnknown
from manager.transactions import transact as transact
from shared.settings import Settings

READING = "llm_proxy_reading"
# A server that is away is noticed within seconds, not when the kernel gives up; a URL may say otherwise.
_PATIENCE = {"connect_timeout": "5", "tcp_user_timeout": "15000"}
_SURROGATES = re.compile("[\ud800-\udfff]")
Sessions = sessionmaker[Session]


@dataclass(frozen=True)
class Tuning:
    """How PostgreSQL is used: connections kept and more in need, and seconds (0: without end) of a connection's life,
    of a statement, and of waiting for a lock. SQLite has one writer and no server, and takes none of it.
    """

    pool_size: int = 10
    max_overflow: int = 10
    recycle: int = 1800
    statement_timeout: int = 30
    lock_timeout: int = 10

    @classmethod
    def of(cls, settings: Settings) -> "Tuning":
        """Return what the settings say."""
        return cls(
            settings.db_pool_size,
            settings.db_max_overflow,
            settings.db_pool_recycle,
            settings.db_statement_timeout,
            settings.db_lock_timeout,
        )


DEFAULT_TUNING = Tuning()


def open_engine(settings: Settings) -> sa.Engine:
    """Return an engine for the database that the settings name, tuned as they say."""
    return create_engine(settings.database_url, Tuning.of(settings))


def create_engine(url: str, tuning: Tuning = DEFAULT_TUNING) -> sa.Engine:
    """Return an engine for a `sqlite:` or `postgresql:` URL; plain `postgresql:` means psycopg 3."""
    parsed = sa.make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _create_sqlite_engine(parsed)
    return _create_postgresql_engine(parsed, tuning)


def create_sessions(engine: sa.Engine) -> Sessions:
    """Return the session factory; objects stay readable after commit, as they are published then."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def reading(sessions: Sessions) -> Iterator[Session]:
    """A session that only reads: on SQLite it waits for no writer, and no writer waits for it."""
    with sessions() as session:
        session.connection(execution_options={READING: True})
        yield session


def insert(session: Session, table: type[DeclarativeBase]) -> "sqlite.Insert | postgresql.Insert":
    """Return an insert that can say what is done on a conflict, for the session's database."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema to the newest version; see manager/schema.py."""
    schema.upgrade(engine)


def migrate(url: str, tuning: Tuning = DEFAULT_TUNING) -> None:
    """Bring the schema of the database at `url` to the newest version."""
    engine = create_engine(url, tuning)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def is_current(engine: sa.Engine) -> bool:
    """Tell whether the schema is the one that this release expects; nobody is waited for."""
    with engine.connect().execution_options(**{READING: True}) as connection:
        return schema.is_current(connection)


def reason(error: SQLAlchemyError) -> str:
    """Return what the database itself said, without SQL, values and links."""
    return str(getattr(error, "orig", None) or error.args[0])


def _create_postgresql_engine(url: sa.URL, tuning: Tuning) -> sa.Engine:
    wanted = _PATIENCE | {"options": _options(tuning)}
    arguments = {name: value for name, value in wanted.items() if value and name not in url.query}
    engine = sa.create_engine(
        url,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=tuning.pool_size,
        max_overflow=tuning.max_overflow,
        pool_recycle=tuning.recycle or -1,
        hide_parameters=True,
        json_serializer=_to_json,
    )
    sa.event.listen(engine, "handle_error", _forget_values)
    return engine


def _options(tuning: Tuning) -> str:
    # Some poolers take no options: with both at 0 none are sent.
    seconds = {"statement_timeout": tuning.statement_timeout, "lock_timeout": tuning.lock_timeout}
    return " ".join(f"-c {name}={value}s" for name, value in seconds.items() if value)


def _forget_values(context: ExceptionContext) -> None:
    # DETAIL quotes whole rows, sealed keys and digests among them, and errors are logged.
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(original, psycopg.Error) or original.diag.message_primary is None:
        return
    told = str(original)
    original.args = (original.diag.message_primary,)
    if wrapped is not None:
        wrapped.args = tuple(str(part).replace(told, original.diag.message_primary) for part in wrapped.args)


def _create_sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 10}, hide_parameters=True, json_serializer=_to_json)
    sa.event.listen(engine, "do_connect", _make_private)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _make_private(_: Any, __: Any, arguments: Sequence[Any], ___: Any) -> None:
    # SQLite would let everybody read a new file, sealed keys and digests in it; its log follows the file.
    path = str(arguments[0]) if arguments else ""
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    with contextlib.suppress(OSError):  # It is there, or SQLite itself says what is wrong.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # The driver must not open transactions by itself: _begin does.
    connection.isolation_level = None
    # Its own knows the capitals of ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _to_json(value: Any) -> str:
    # Letters as they are, so that they are found whatever their case; escaped are those that no database takes.
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or not _SURROGATES.search(text) else json.dumps(value)


def _begin(connection: sa.Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once with "database is locked" when another
    # writer came between; taking the write lock at the start makes it wait for the busy timeout instead.
    is_reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")
