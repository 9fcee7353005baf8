"""Denials in the audit: what somebody with a token was refused; the first at once, the rest summed up by who it is."""

import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import redis

from manager import audit, db
from manager.audit import Action, Source
from manager.sums import Sums, write
from manager.tallies import OTHERS, SafeTallies

PILE = "denials"


class Denials:
    """Tells of what was denied."""

    def __init__(self, sessions: db.Sessions, client: "redis.Redis") -> None:
        self._sessions = sessions
        self._sums = Sums(SafeTallies(client, pile=PILE), "denied")

    def denied(self, now: datetime, source: Source, detail: Mapping[str, object]) -> None:
        """Count a denial, and tell of it if it is the first of this minute."""

        def tell(_: str, count: int) -> bool:
            return self._write(now, source, {**detail, "count": count})

        self._sums.add(_name(source), tell)

    def flush(self, now: datetime) -> None:
        """Tell of what has been counted and not told, of each principal whose minute is over."""
        self._sums.flush(lambda name, count: self._write(now, _source(name), {"count": count}))

    def flush_own(self, now: datetime) -> None:
        """Do so with what only this process knows, since Redis was away."""
        self._sums.flush_own(lambda name, count: self._write(now, _source(name), {"count": count}))

    def _write(self, now: datetime, source: Source, detail: Mapping[str, object]) -> bool:
        return write(self._sessions, now, source, Action.ACCESS, audit.DENIED, detail)


def _name(source: Source) -> str:
    return json.dumps([source.actor, source.actor_id and str(source.actor_id)])


def _source(name: str) -> Source:
    try:
        actor, actor_id = json.loads(name)
    except ValueError:
        return Source(OTHERS)
    return Source(actor, actor_id=actor_id and UUID(actor_id))
