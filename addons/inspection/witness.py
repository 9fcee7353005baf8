"""Tells who has seen what here: at once in the log, and in the manager's audit for everybody who came with a token."""

import asyncio
from collections import defaultdict
from functools import partial

from addons.endurance import Repeating
from addons.inspection.manager_line import ManagerLine, Refused
from addons.inspection.sign_in import Session
from shared import logs

PAUSE_SECONDS = 1.0
# So many are told of in one call, and so many of a session are known to have been told of.
_AT_ONCE = 100
_MOST_KNOWN = 10_000
# What waits while the manager is away; the log has all of it.
_MOST_WAITING = 10_000

log = logs.get("inspector")


class Witness:
    """One task for the life of the inspector."""

    def __init__(self, manager: ManagerLine, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._manager = manager
        self._known: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting: defaultdict[str, list[str]] = defaultdict(list)
        self._telling = Repeating(self.tell, "witness", pause_seconds)

    def start(self) -> None:
        """Start telling the manager."""
        self._telling.start()

    async def stop(self) -> None:
        """Tell what is left, and stop."""
        await self._telling.stop()
        await self.tell()

    def read(self, session: Session, request_id: str) -> None:
        """Somebody sees a body of a request; it counts once for each session."""
        known = self._known[session.id]
        if request_id in known:
            return
        if not known:
            session.ending.append(partial(self._forget, session.id))
        elif len(known) >= _MOST_KNOWN:
            known.clear()
        known.add(request_id)
        log.info("inspector_read", who=session.visitor.name, address=session.address, request_id=request_id)
        if session.visitor.token and sum(map(len, self._waiting.values())) < _MOST_WAITING:
            self._waiting[session.visitor.token].append(request_id)

    def _forget(self, session_id: str) -> None:
        self._known.pop(session_id, None)

    async def saved(self, session: Session, count: int) -> None:
        """Somebody is about to take so many flows away as a file. Raises Refused if that cannot be written down."""
        log.info("inspector_saved", who=session.visitor.name, address=session.address, flows=count)
        if session.visitor.token:
            await self._manager.saved(session.visitor.token, count)

    async def tell(self) -> None:
        """Tell the manager what waits; what it does not take now waits on, unless whoever it was is not known to it."""
        waiting = {token: ids[:_AT_ONCE] for token, ids in self._waiting.items()}
        await asyncio.gather(*(self._tell(token, ids) for token, ids in waiting.items()))

    async def _tell(self, token: str, request_ids: list[str]) -> None:
        try:
            await self._manager.read(token, request_ids)
        except Refused as refusal:
            if refusal.status not in (401, 403):
                return
            log.warning("inspector_read_not_audited", count=len(request_ids), reason=refusal.text)
        rest = self._waiting[token][len(request_ids) :]
        if rest:
            self._waiting[token] = rest
        else:
            del self._waiting[token]
