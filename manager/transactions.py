"""One transaction as a function, done again when the database says that it may go better next time.

It is done again after deadlocks, serialization failures, lost connections and an SQLite that is busy; anything else is
raised at once. A connection that is lost while PostgreSQL commits leaves open whether it has: the server is asked then,
and only what it did not commit is done again.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from shared import logs

ATTEMPTS = 5
FIRST_PAUSE = 0.05
# SQLite waits for ten seconds by itself, and a server that is away hangs for five: no attempt begins after these.
SECONDS = 12.0

# serialization_failure, deadlock_detected, admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
_TRANSIENT = {"40001", "40P01", "57P01", "57P02", "57P03", "53300"}
# libpq gives no code for a refused connection, and these are no matter of time.
_LASTING = ("authentication failed", "does not exist", "pg_hba.conf")
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY_CODE = 0xFF

log = logs.get("database")


class CommitUnknown(SQLAlchemyError):
    """The connection broke while committing, and whether it was committed cannot be found out."""


@dataclass(frozen=True)
class _Mark:
    """By what a running transaction is found again: its id, and the server's start, since ids are a server's own."""

    transaction: int
    server: str


def transact[Result](
    sessions: sessionmaker[Session],
    work: Callable[[Session], Result],
    *,
    is_repeatable: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> Result:
    """Do work in one transaction and return its result; what is committed stays readable.

    The work may be done again, so all that it does is through the session. `is_repeatable` says that it may also be
    done again after it was committed. Raises SQLAlchemyError as it comes; CommitUnknown if the connection broke while
    committing, and neither the server knows what came of it nor the work is repeatable.
    """
    return persistently(lambda: _attempt(sessions, work, is_repeatable, sleep), sleep, _tell)


def persistently[Result](
    attempt: Callable[[], Result],
    sleep: Callable[[float], object] = time.sleep,
    tell: Callable[[DBAPIError], object] = lambda _: None,
) -> Result:
    """Return what an attempt returns, made again while it fails for a reason that passes."""
    deadline = time.monotonic() + SECONDS
    for pause in _pauses():
        try:
            return attempt()
        except DBAPIError as error:
            if pause is None or time.monotonic() + pause > deadline or not is_transient(error):
                raise
            tell(error)
            sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def is_transient(error: DBAPIError) -> bool:
    """Tell whether the same may go well a moment later."""
    original = error.orig
    if isinstance(original, sqlite3.OperationalError):
        # The driver itself has no code, as for a text that is none.
        return getattr(original, "sqlite_errorcode", 0) & _PRIMARY_CODE in _BUSY
    if not isinstance(original, psycopg.Error):
        return False
    if error.connection_invalidated or original.sqlstate in _TRANSIENT:
        return True
    is_unconnected = isinstance(original, psycopg.OperationalError) and original.sqlstate is None
    return is_unconnected and not any(words in str(original) for words in _LASTING)


def _tell(error: DBAPIError) -> None:
    log.warning("transaction_repeated", reason=type(error.orig).__name__)


def _pauses() -> Iterator[float | None]:
    """Return the pauses after each attempt, None after the last; they vary, so that two do not collide again."""
    for number in range(ATTEMPTS - 1):
        yield FIRST_PAUSE * 2**number * random.uniform(0.5, 1.5)  # noqa: S311 - nothing is to be secret here
    yield None


def _attempt[Result](
    sessions: sessionmaker[Session],
    work: Callable[[Session], Result],
    is_repeatable: bool,
    sleep: Callable[[float], object],
) -> Result:
    with sessions() as session:
        result = work(session)
        session.flush()
        mark = None if is_repeatable else _mark(session)
        # A commit that fails would expire what the session knows, also where the server turns out to have committed.
        session.expunge_all()
        try:
            session.commit()
        except DBAPIError as error:
            if mark is None or not error.connection_invalidated or not _was_committed(session.get_bind(), mark, sleep):
                raise
    return result


def _mark(session: Session) -> _Mark | None:
    """Return what the transaction is found by, None for one that has written nothing, or is SQLite's."""
    if session.get_bind().dialect.name != "postgresql" or not session.in_transaction():
        return None
    query = sa.text("SELECT txid_current_if_assigned(), pg_postmaster_start_time()::text")
    transaction, server = session.execute(query).one()
    return None if transaction is None else _Mark(transaction, server)


def _was_committed(bind: sa.Engine | sa.Connection, mark: _Mark, sleep: Callable[[float], object]) -> bool:
    """Ask the server what has become of a transaction. Raises CommitUnknown if it does not tell."""
    query = sa.text("SELECT txid_status(:transaction) WHERE pg_postmaster_start_time()::text = :server")
    for pause in _pauses():
        try:
            with bind.engine.connect() as connection:
                status = connection.scalar(query, {"transaction": mark.transaction, "server": mark.server})
            if status in ("committed", "aborted"):
                return bool(status == "committed")
        except DBAPIError as error:
            log.warning("commit_unknown", reason=type(error.orig).__name__)
        sleep(pause or 0.0)
    raise CommitUnknown("the connection broke while committing; whether it was committed is not known") from None
