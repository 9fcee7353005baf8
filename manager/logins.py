"""Logins in the audit: who comes from where for the first time in an hour, and failed ones, summed up by address.

Of failed ones, the first is told at once, and then at most one event a minute and address, with how many there were:
who tries tokens cannot fill the database.
"""

from datetime import datetime

from manager import audit, db
from manager.audit import Action, Source
from manager.sums import Sums, write
from manager.tallies import OTHERS, SafeTallies
from manager.throttle import neighbourhood

SEEN_SECONDS = 3600


def seen(name: str, address: str | None) -> str:
    """Return the name of the tally of somebody's logins from an address."""
    return f"seen:{name}|{neighbourhood(address)}"


class Logins:
    """Tells of logins."""

    def __init__(self, sessions: db.Sessions, tallies: SafeTallies) -> None:
        self._sessions = sessions
        self._tallies = tallies
        self._failed = Sums(tallies, "told")

    def succeeded(self, now: datetime, source: Source, role: str) -> None:
        """Tell of a login, if it is the first of this hour; while Redis is away, as far as this process knows."""
        name = seen(source.actor, source.address)
        if self._tallies.look(name)[0] == 0 and self._note(now, source, audit.SUCCESS, {"role": role}):
            self._tallies.hit(name, SEEN_SECONDS)

    def failed(self, now: datetime, address: str | None, request_id: str | None) -> None:
        """Count a failed login, and tell of it if it is time to."""
        self._failed.add(neighbourhood(address), lambda name, count: self._tell(now, name, count, request_id))

    def flush(self, now: datetime) -> None:
        """Tell of what has been counted and not told, of each address whose minute is over."""
        self._failed.flush(lambda name, count: self._tell(now, name, count, None))

    def flush_own(self, now: datetime) -> None:
        """Do so with what only this process knows, since Redis was away."""
        self._failed.flush_own(lambda name, count: self._tell(now, name, count, None))

    def _tell(self, now: datetime, name: str, count: int, request_id: str | None) -> bool:
        source = Source(audit.NOBODY, request_id, None if name == OTHERS else name)
        return self._note(now, source, audit.FAILED, {"count": count})

    def _note(self, now: datetime, source: Source, outcome: str, detail: dict[str, object]) -> bool:
        return write(self._sessions, now, source, Action.LOGIN, outcome, detail)
