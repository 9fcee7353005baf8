"""Logins in the audit: who comes from where for the first time in an hour, and failed ones, summed up by address.

Of failed ones, the first is told at once, and then at most one event a minute and address, with how many there were:
who tries tokens cannot fill the database.
"""

from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import audit, db
from manager.audit import Action, Source
from manager.tallies import OTHERS, SafeTallies
from manager.throttle import neighbourhood
from shared import logs

SEEN_SECONDS = 3600
TOLD_SECONDS = 60
MOST_TOLD = 100
log = logs.get("access")


def seen(name: str, address: str | None) -> str:
    """Return the name of the tally of somebody's logins from an address."""
    return f"seen:{name}|{neighbourhood(address)}"


class Logins:
    """Tells of logins."""

    def __init__(self, sessions: db.Sessions, tallies: SafeTallies) -> None:
        self._sessions = sessions
        self._tallies = tallies

    def succeeded(self, now: datetime, source: Source, role: str) -> None:
        """Tell of a login, if it is the first of this hour. While Redis is away, that is not known, and not told."""
        name = seen(source.actor, source.address)
        is_first = self._tallies.look(name)[0] == 0
        if is_first and self._tallies.is_shared() and self._note(now, source, audit.SUCCESS, {"role": role}):
            self._tallies.hit(name, SEEN_SECONDS)

    def failed(self, now: datetime, address: str | None, request_id: str | None) -> None:
        """Count a failed login, and tell of it if it is time to."""
        name = neighbourhood(address)
        self._tallies.pile(name)
        self._tell(now, name, request_id)

    def flush(self, now: datetime) -> None:
        """Tell of what has been counted and not told, of each address whose minute is over."""
        for name in self._tallies.piled():
            self._tell(now, name, None)

    def _tell(self, now: datetime, name: str, request_id: str | None) -> None:
        if self._tallies.look("told")[0] >= MOST_TOLD or not self._tallies.turn(f"told:{name}", TOLD_SECONDS):
            return
        if count := self._tallies.take(name):
            self._tallies.hit("told", TOLD_SECONDS)
            address = None if name == OTHERS else name
            if not self._note(now, Source(audit.NOBODY, request_id, address), audit.FAILED, {"count": count}):
                self._tallies.pile(name, count)

    def _note(self, now: datetime, source: Source, outcome: str, detail: dict[str, object]) -> bool:
        """Write an event, and tell whether that went well: nobody's login hangs on it."""

        def note(session: Session) -> None:
            audit.note(session, now, source, Action.LOGIN, outcome=outcome, detail=detail)

        try:
            db.transact(self._sessions, note)
        except SQLAlchemyError as error:
            log.error("login_not_noted", actor=source.actor, outcome=outcome, reason=db.reason(error))
            return False
        return True
