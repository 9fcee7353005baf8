"""The audit's chain: extended behind those who write events, verified, and cut off at its beginning by retention.

Whoever writes an event needs no key and waits for nobody; a moment later it gets its place and its code. What is wrong
with a chain that was tampered with stays wrong: extending it goes on behind the fault.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db
from manager.audit_links import (
    BATCH,
    COVERED,
    NAME,
    PLACE,
    UNREADABLE,
    ChainBroken,
    Fault,
    FaultKind,
    Walk,
    code,
    in_order,
    is_unreadable,
    open_key,
    seal,
)
from manager.audit_verification import Anchor, Report, look
from manager.db import Sessions
from manager.tables import AuditChain, AuditEvent
from shared import logs
from shared.sealing import Keyring

_KEY_BYTES = 32
_ID_BYTES = 6
log = logs.get("audit_chain")
_LINK = (
    sa.update(AuditEvent)
    .where(AuditEvent.id == sa.bindparam("row"))
    .values(position=sa.bindparam("place"), chained_at=sa.bindparam("moment"), mac=sa.bindparam("code"))
)
# Events that only a chain writes: where one is, there was a chain.
_SIGNS = (audit.Action.AUDIT_BEGIN, audit.Action.AUDIT_RETENTION)
_WAITING = sa.and_(AuditEvent.position.is_(None), AuditEvent.mac.is_(None))
_SIGN = sa.or_(AuditEvent.position.is_not(None), AuditEvent.mac.is_not(None), AuditEvent.action.in_(_SIGNS))
log = logs.get("audit")

type Clock = Callable[[], datetime]


@dataclass(frozen=True)
class _Old:
    """What may be cut off: chained before `limit` and shipped, or before `last_limit` in any case."""

    limit: datetime
    last_limit: datetime
    shipped: int | None

    def covers(self, position: int, chained_at: datetime) -> bool:
        if chained_at >= self.limit:
            return False
        if self.shipped is None or position <= self.shipped or chained_at < self.last_limit:
            return True
        log.warning("retention_waits_for_export", audit_from=position)
        return False


class Chain:
    """The chain of one database."""

    def __init__(self, sessions: Sessions, keyring: Keyring, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._clock = clock

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
        """Cut off events that were chained longer ago; None: never. Return how many.

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

    def begin_anew(self) -> None:
        """Forget the chain, whatever is wrong with it, and chain all events that are there as they are."""
        db.transact(self._sessions, self._begin_anew)
        self.extend()

    def _is_behind(self) -> bool:
        # Asked first without the lock that writing takes: mostly there is nothing to do.
        with db.reading(self._sessions) as session:
            return session.scalar(sa.select(sa.literal(1)).where(_WAITING).limit(1)) is not None

    def _extend_once(self, session: Session) -> int:
        record, key = self._lock(session)
        waiting = sa.select(*COVERED).where(_WAITING).order_by(AuditEvent.id).limit(BATCH)
        try:
            rows = session.execute(waiting).all()
        except UNREADABLE as error:
            if not is_unreadable(error):
                raise
            reason = "An event that waits for its place cannot be read: it holds what is no value of its column."
            raise ChainBroken(Fault(FaultKind.ADDITIONAL, reason)) from error
        return self._link(session, record, key, rows)

    def _link(self, session: Session, record: AuditChain, key: bytes, rows: "Sequence[sa.Row[Any]]") -> int:
        # The time of chaining is kept, since an event's own times may be made up by whoever writes to the database.
        moment, links = self._clock(), []
        for row in rows:
            record.position += 1
            record.mac = code(key, record.mac, (record.position, *row[1:-1], moment))
            links.append({"row": row.id, "place": record.position, "moment": moment, "code": record.mac})
        if links:
            session.connection().execute(_LINK, links)
            record.seal = seal(key, record)
        return len(links)

    def _forget_once(self, session: Session, now: datetime, old: "_Old") -> int:
        record, key = self._lock(session)
        walk, count = Walk(key, record.kept_position, record.kept_mac), 0
        try:
            rows = session.execute(in_order().limit(BATCH)).all()
        except UNREADABLE as error:
            if not is_unreadable(error):
                raise
            raise ChainBroken(Fault(FaultKind.CHANGED, "There is an event that cannot be read.")) from error
        for row in rows:
            if row.chained_at is not None and not old.covers(row.position, row.chained_at):
                break
            if fault := walk.step(row):
                raise ChainBroken(fault)
            count += 1
        if count:
            session.execute(sa.delete(AuditEvent).where(AuditEvent.position <= walk.position))
            record.kept_position, record.kept_mac = walk.position, walk.mac
            record.seal = seal(key, record)
            detail = {"events": count, "until_position": walk.position, "chained_before": old.limit.isoformat()}
            audit.note(session, now, audit.Source(audit.JOBS), audit.Action.AUDIT_RETENTION, detail=detail)
        return count

    def _lock(self, session: Session) -> tuple[AuditChain, bytes]:
        """Return the chain's record, made if it is the first time, and its key; nobody else has it meanwhile."""
        if session.get(AuditChain, NAME) is None:
            self._begin(session)
        record = session.get_one(AuditChain, NAME, with_for_update=True, populate_existing=True)
        return record, open_key(self._keyring, record)

    def _begin(self, session: Session) -> None:
        if session.scalar(sa.select(sa.literal(1)).where(_SIGN).limit(1)):
            # Another process may have begun the chain just now: its record came with these events.
            if session.scalar(sa.select(AuditChain.name).where(AuditChain.name == NAME)):
                return
            reason = "There was a chain, but its record is gone. It is not begun anew unless you say so."
            raise ChainBroken(Fault(FaultKind.RECORD, reason))
        self._make(session, audit.Source(audit.JOBS), {})

    def _begin_anew(self, session: Session) -> None:
        old = session.execute(sa.select(AuditChain.chain_id, AuditChain.position, AuditChain.mac)).one_or_none()
        session.execute(sa.delete(AuditChain))
        session.execute(sa.update(AuditEvent).values(position=None, chained_at=None, mac=None))
        names = ("chain", "position", "mac")
        before = None if old is None else {name: str(value) for name, value in zip(names, old, strict=True)}
        self._make(session, audit.Source(audit.COMMAND), {"before": before})

    def _make(self, session: Session, source: audit.Source, detail: dict[str, Any]) -> None:
        """Make the chain's record, and tell of it: the first event of each chain says that it begins."""
        key = secrets.token_bytes(_KEY_BYTES)
        values: dict[str, Any] = {"name": NAME, "chain_id": secrets.token_hex(_ID_BYTES)}
        values |= {"position": 0, "mac": "", "kept_position": 0, "kept_mac": ""}
        values |= {"seal": seal(key, AuditChain(**values)), "sealed_key": self._keyring.seal(key.hex(), PLACE)}
        insert = db.insert(session, AuditChain).values(values).on_conflict_do_nothing()
        if session.scalar(insert.returning(AuditChain.name)) is None:
            return  # Another process was quicker.
        waiting = session.scalar(sa.select(sa.func.count()).select_from(AuditEvent)) or 0
        detail = {"chain": values["chain_id"], "events": waiting, **detail}
        audit.note(session, self._clock(), source, audit.Action.AUDIT_BEGIN, detail=detail)
        record = session.get_one(AuditChain, NAME, with_for_update=True, populate_existing=True)
        told = sa.select(*COVERED).where(AuditEvent.action == audit.Action.AUDIT_BEGIN, _WAITING)
        first = session.execute(told.order_by(AuditEvent.id.desc()).limit(1)).all()
        self._link(session, record, key, first)
        log.warning("audit_chain_begun", **detail)


def progress(session: Session) -> tuple[str, int, int]:
    """Return the chain's id, the position of its end, and how many events are not in it yet."""
    end = session.execute(sa.select(AuditChain.chain_id, AuditChain.position).where(AuditChain.name == NAME)).first()
    waiting = session.scalar(sa.select(sa.func.count(AuditEvent.id)).where(AuditEvent.position.is_(None)))
    return (end.chain_id, end.position, waiting or 0) if end else ("", 0, waiting or 0)
