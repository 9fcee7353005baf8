"""Events of the audit that somebody can cause at will, summed up: the first of a name is told at once, the rest in sum.

After an event of a name, the next comes after a minute at the earliest, with how many there were; and of all names
together no more than some in a minute. So nobody fills the database.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import audit, db
from manager.audit import Action, Source
from manager.tallies import SafeTallies
from shared import logs

TOLD_SECONDS = 60
MOST_TOLD = 100
# How often a process looks whether it has something to tell that others do not know of.
OWN_SECONDS = 10
log = logs.get("access")

# Tells how many there were of a name; returns whether that went well.
type Tell = Callable[[str, int], bool]


class Sums:
    """Sums up one kind of event. `told` names the tallies that tell what was told."""

    def __init__(self, tallies: SafeTallies, told: str) -> None:
        self._tallies = tallies
        self._told = told

    def add(self, name: str, tell: Tell) -> None:
        """Count one of a name, and tell if it is time to."""
        self._tallies.pile(name)
        self._tell(name, tell)

    def flush(self, tell: Tell) -> None:
        """Tell of what has been counted and not told, of each name whose minute is over."""
        for name in self._tallies.piled():
            self._tell(name, tell)

    def flush_own(self, tell: Tell) -> None:
        """Do so with what was counted in this process's memory; every now and then, however often it is called."""
        left = self._tallies.left()
        if left and self._tallies.own_turn(f"{self._told}:own", OWN_SECONDS):
            for name in left:
                self._tell(name, tell)

    def _tell(self, name: str, tell: Tell) -> None:
        is_full = self._tallies.look(self._told)[0] >= MOST_TOLD
        if is_full or not self._tallies.turn(f"{self._told}:{name}", TOLD_SECONDS):
            return
        if count := self._tallies.take(name):
            self._tallies.hit(self._told, TOLD_SECONDS)
            if not tell(name, count):
                self._tallies.pile(name, count)


def write(
    sessions: db.Sessions, now: datetime, source: Source, action: Action, outcome: str, detail: Mapping[str, object]
) -> bool:
    """Write an event in a transaction of its own, and tell whether that went well: nobody's request hangs on it."""

    def note(session: Session) -> None:
        audit.note(session, now, source, action, outcome=outcome, detail=detail)

    try:
        db.transact(sessions, note)
    except SQLAlchemyError as error:
        log.error("event_not_noted", action=action, actor=source.actor, outcome=outcome, reason=db.reason(error))
        return False
    return True
