"""Who may do what only one process may do at a time: a lease in SQL, renewed as long as its holder lives.

Times are the holders' own clocks; a lease is long enough for clocks that differ by seconds. What the clock of a dead
holder said wrongly binds nobody.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import db
from manager.db import Sessions
from manager.tables import Lease
from shared import logs

LIFE = timedelta(seconds=15)
# So long before its end a holder stops to rely on a lease, for clocks and pauses.
MARGIN_SECONDS = 2.0
# A lease that ends later than after so many lives is by a clock that was wrong, and nobody's.
MOST_LIVES = 2

log = logs.get("leases")


class LeaseTaken(Exception):
    """Another holder has the lease; the message is its name."""


def new_holder() -> str:
    """Return a name for this process that no other one has or will have."""
    return f"{socket.gethostname()[:80]}-{os.getpid()}-{secrets.token_hex(8)}"


def take(session: Session, name: str, holder: str, now: datetime, life: timedelta = LIFE) -> bool:
    """Take or renew a lease; False if another holder has it. All holders of one give it the same life."""
    statement = db.insert(session, Lease).values(name=name, holder=holder, until=now + life)
    is_free = sa.or_(Lease.until <= now, Lease.until > now + MOST_LIVES * life, Lease.holder == holder)
    change = {"holder": holder, "until": now + life}
    taking = statement.on_conflict_do_update(index_elements=["name"], set_=change, where=is_free)
    return session.scalar(taking.returning(Lease.holder)) == holder


def give_back(session: Session, name: str, holder: str) -> None:
    """End a lease of one's own, so that another process need not wait for its end."""
    session.execute(sa.delete(Lease).where(Lease.name == name, Lease.holder == holder))


class Leadership:
    """One lease, held as long as `renew` is called often enough: at least three times in its life.

    `clock` and `monotonic` tell the time of day and seconds that never go back.
    """

    def __init__(
        self,
        sessions: Sessions,
        name: str,
        holder: str | None = None,
        life: timedelta = LIFE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = holder or new_holder()
        self._sessions = sessions
        self._name = name
        self._life = life
        self._clock = clock
        self._monotonic = monotonic
        self._until = 0.0

    def renew(self) -> bool:
        """Take the lease or keep it; tell whether it is ours now. Raises SQLAlchemyError."""
        began = self._monotonic()

        def taking(session: Session) -> bool:
            return take(session, self._name, self.holder, self._clock(), self._life)

        is_ours = db.transact(self._sessions, taking, is_repeatable=True)
        self._until = began + self._life.total_seconds() - MARGIN_SECONDS if is_ours else 0.0
        return is_ours

    def is_held(self) -> bool:
        """Tell whether the lease is ours for sure, without asking anybody."""
        return self._monotonic() < self._until

    def keep(self, stop: threading.Event) -> None:
        """Renew the lease until told to stop. What fails is logged: the lease lasts until its end."""
        while not stop.wait(self._life.total_seconds() / 3):
            try:
                self.renew()
            except SQLAlchemyError as error:
                log.warning("lease_not_renewed", lease=self._name, reason=type(error).__name__)

    def end(self) -> None:
        """Give the lease back if it is ours. Raises SQLAlchemyError."""
        self._until = 0.0
        db.transact(self._sessions, lambda session: give_back(session, self._name, self.holder), is_repeatable=True)


@contextmanager
def held(
    sessions: Sessions, name: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC), life: timedelta = LIFE
) -> Iterator[None]:
    """Hold a lease while something is done, renewed by a thread. Raises LeaseTaken, and SQLAlchemyError at first."""
    lease = Leadership(sessions, name, life=life, clock=clock)
    if not lease.renew():
        raise LeaseTaken(_holder(sessions, name))
    stop = threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(stop,), name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        try:
            lease.end()
        except SQLAlchemyError as error:
            log.warning("lease_not_given_back", lease=name, reason=type(error).__name__)


def _holder(sessions: Sessions, name: str) -> str:
    with db.reading(sessions) as session:
        return session.scalar(sa.select(Lease.holder).where(Lease.name == name)) or "another process"
