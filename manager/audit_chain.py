"""The audit's chain: extended behind those who write events, verified, and cut off at its beginning by retention.

Whoever writes an event needs no key and waits for nobody; a moment later it gets its place and its code. What is wrong
with a chain that was tampered with stays wrong: extending it goes on behind the fault.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db
from manager.audit_links import (
    BATCH,
    COVERED,
    NAME,
    PLACE,
    ChainBroken,
    Fault,
    FaultKind,
    Walk,
    code,
    in_order,
    open_key,
    recorded_at,
    seal,
)
from manager.audit_verification import Anchor, Report, look
from manager.db import Sessions
from manager.tables import AuditChain, AuditEvent
from shared import logs
from shared.sealing import Keyring

_KEY_BYTES = 32
log = logs.get("audit_chain")
_LINK = (
    sa.update(AuditEvent)
    .where(AuditEvent.id == sa.bindparam("row"))
    .values(position=sa.bindparam("place"), mac=sa.bindparam("code"))
)
_WAITING = sa.and_(AuditEvent.position.is_(None), AuditEvent.mac.is_(None))


@dataclass(frozen=True)
class _Old:
    """What may be cut off: recorded before `limit` and shipped, or before `last_limit` in any case."""

    limit: datetime
    last_limit: datetime
    shipped: int | None

    def covers(self, position: int, recorded_at: float) -> bool:
        if recorded_at >= self.limit.timestamp():
            return False
        if self.shipped is None or position <= self.shipped or recorded_at < self.last_limit.timestamp():
            return True
        log.warning("retention_waits_for_export", audit_from=position)
        return False


class Chain:
    """The chain of one database."""

    def __init__(self, sessions: Sessions, keyring: Keyring) -> None:
        self._sessions = sessions
        self._keyring = keyring

    def extend(self) -> int:
        """Give each event that has none its place and code; return how many. Raises ChainBroken.

        Any number of processes may do so at the same time.
        """
        extended = 0
        while self._is_behind():
            count = db.transact(self._sessions, self._extend_once)
            extended += count
            if count < BATCH:
                break
        return extended

    def verify(self, anchor: Anchor | None = None) -> Report:
        """Extend the chain, and go along all of it."""
        fault = None
        try:
            self.extend()
        except ChainBroken as error:
            fault = error.fault
        with db.reading(self._sessions) as session:
            report = look(session, self._keyring, anchor)
        return report if report.fault or fault is None else replace(report, fault=fault)

    def forget(self, now: datetime, retention: timedelta | None, shipped: int | None = None) -> int:
        """Cut off events that were written down longer ago; None: never. Return how many.

        `shipped` is the position up to which events were exported, None if none are to be: what is behind it is kept
        for up to twice as long. What is cut off is verified first, or a forger could have it cut. Raises ChainBroken.
        """
        if retention is None:
            return 0
        old, forgotten = _Old(now - retention, now - 2 * retention, shipped), 0
        while True:
            count = db.transact(self._sessions, lambda session: self._forget_once(session, now, old))
            forgotten += count
            if count < BATCH:
                return forgotten

    def _is_behind(self) -> bool:
        # Asked first without the lock that writing takes: mostly there is nothing to do.
        with db.reading(self._sessions) as session:
            return session.scalar(sa.select(AuditEvent.id).where(_WAITING).limit(1)) is not None

    def _extend_once(self, session: Session) -> int:
        record, key = self._lock(session)
        waiting = sa.select(*COVERED).where(_WAITING).order_by(AuditEvent.id).limit(BATCH)
        links = []
        for row in session.execute(waiting):
            record.position += 1
            record.mac = code(key, record.mac, (record.position, *row[1:]))
            links.append({"row": row.id, "place": record.position, "code": record.mac})
        if links:
            session.connection().execute(_LINK, links)
            record.seal = seal(key, record)
        return len(links)

    def _forget_once(self, session: Session, now: datetime, old: "_Old") -> int:
        record, key = self._lock(session)
        walk, count = Walk(key, record.kept_position, record.kept_mac), 0
        for row in session.execute(in_order().limit(BATCH)).all():
            if not old.covers(row.position, recorded_at(row.id)):
                break
            if fault := walk.step(row):
                raise ChainBroken(fault)
            count += 1
        if count:
            session.execute(sa.delete(AuditEvent).where(AuditEvent.position <= walk.position))
            record.kept_position, record.kept_mac = walk.position, walk.mac
            record.seal = seal(key, record)
            detail = {"events": count, "until_position": walk.position, "recorded_before": old.limit.isoformat()}
            audit.note(session, now, audit.Source(audit.JOBS), audit.Action.AUDIT_RETENTION, detail=detail)
        return count

    def _lock(self, session: Session) -> tuple[AuditChain, bytes]:
        """Return the chain's record, made if it is the first time, and its key; nobody else has it meanwhile."""
        if session.get(AuditChain, NAME) is None:
            self._begin(session)
        record = session.get_one(AuditChain, NAME, with_for_update=True, populate_existing=True)
        return record, open_key(self._keyring, record)

    def _begin(self, session: Session) -> None:
        if session.scalar(sa.select(AuditEvent.id).where(AuditEvent.position.is_not(None)).limit(1)):
            # Another process may have begun the chain just now: its record came with these events.
            if session.scalar(sa.select(AuditChain.name).where(AuditChain.name == NAME)):
                return
            raise ChainBroken(Fault(FaultKind.RECORD, "There are chained events, but the chain's record is gone."))
        key = secrets.token_bytes(_KEY_BYTES)
        values = {"name": NAME, "position": 0, "mac": "", "kept_position": 0, "kept_mac": ""}
        values |= {"seal": seal(key, AuditChain(**values)), "sealed_key": self._keyring.seal(key.hex(), PLACE)}
        session.execute(db.insert(session, AuditChain).values(values).on_conflict_do_nothing())


def progress(session: Session) -> tuple[int, int]:
    """Return the position of the chain's end, and how many events are not in it yet."""
    end = session.scalar(sa.select(AuditChain.position).where(AuditChain.name == NAME))
    waiting = session.scalar(sa.select(sa.func.count(AuditEvent.id)).where(AuditEvent.position.is_(None)))
    return end or 0, waiting or 0
