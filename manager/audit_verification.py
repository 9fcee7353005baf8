"""Verifying the audit: goes along the whole chain and tells the first row that was changed, taken out or put in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.audit_links import BATCH, NAME, ChainBroken, Fault, FaultKind, Walk, in_order, missing, open_key
from manager.tables import AuditChain, AuditEvent
from shared.sealing import Keyring

_HALF_CHAINED = sa.and_(AuditEvent.position.is_(None), AuditEvent.mac.is_not(None))


@dataclass(frozen=True)
class Anchor:
    """The end of the chain at some earlier time, as somebody noted it elsewhere."""

    position: int
    mac: str

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Read `position:mac`. Raises ValueError."""
        position, _, mac = text.strip().partition(":")
        is_number = position.isascii() and position.isdecimal() and len(position) < 19
        if not is_number or len(mac) != 64 or not mac.isascii() or not mac.isalnum():
            raise ValueError("An anchor is position:mac, as an earlier verification told them.")
        return cls(int(position), mac)


@dataclass(frozen=True)
class Report:
    """What verifying found: `rows` that fit, behind `kept_position` up to the end, which is `position` and `mac`.

    `unchained` events wait for their place; the oldest is of `unchained_since`. `fault` is the first thing wrong.
    """

    rows: int
    kept_position: int
    position: int
    mac: str
    unchained: int
    unchained_since: datetime | None
    fault: Fault | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None


def look(session: Session, keyring: Keyring, anchor: Anchor | None) -> Report:
    """Verify the chain as it is. An anchor that retention has cut off tells nothing any more.

    The session must only read, and have read nothing yet.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Record and rows as of one moment, as SQLite shows them anyway.
        session.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    waiting = sa.select(sa.func.count(AuditEvent.id), sa.func.min(AuditEvent.occurred_at))
    unchained, since = session.execute(waiting.where(AuditEvent.position.is_(None))).one()
    record = session.get(AuditChain, NAME)
    if record is None:
        chained = sa.or_(AuditEvent.position.is_not(None), AuditEvent.mac.is_not(None))
        fault = _stray(session, chained) or _anchored(anchor, Walk(b"", 0, ""))
        return Report(0, 0, 0, "", unchained, since, fault)
    rows, fault = _go_along(session, keyring, record, anchor)
    return Report(rows, record.kept_position, record.position, record.mac, unchained, since, fault)


def _go_along(
    session: Session, keyring: Keyring, record: AuditChain, anchor: Anchor | None
) -> tuple[int, Fault | None]:
    try:
        walk = Walk(open_key(keyring, record), record.kept_position, record.kept_mac)
    except ChainBroken as error:
        return 0, error.fault
    if anchor and anchor.position < record.kept_position:
        anchor = None
    fault = None
    with session.execute(in_order().execution_options(yield_per=BATCH)) as found:
        for row in found:
            if fault := _passed(anchor, walk) or _beyond(record, walk, row) or walk.step(row):
                break
    fault = fault or _ended(record, walk) or _anchored(anchor, walk) or _stray(session, _HALF_CHAINED)
    return walk.position - record.kept_position, fault


def _passed(anchor: Anchor | None, walk: Walk) -> Fault | None:
    return _anchored(anchor, walk) if anchor and anchor.position == walk.position else None


def _anchored(anchor: Anchor | None, walk: Walk) -> Fault | None:
    """Return what is wrong with a chain that ends here, or passes its anchor here."""
    if anchor is None or anchor.position < walk.position:
        return None
    if anchor.position > walk.position:
        return missing(walk.position + 1, anchor.position)
    if anchor.mac != walk.mac:
        reason = f"Another row is at position {anchor.position} than when the anchor was noted."
        return Fault(FaultKind.CHANGED, reason, anchor.position)
    return None


def _beyond(record: AuditChain, walk: Walk, row: "sa.Row[Any]") -> Fault | None:
    if walk.position < record.position:
        return None
    return Fault(FaultKind.ADDITIONAL, f"There is a row at position {row.position}, behind the end.", *row[:2])


def _ended(record: AuditChain, walk: Walk) -> Fault | None:
    if walk.position < record.position:
        return missing(walk.position + 1, record.position)
    if walk.mac != record.mac:
        # A row of another time, when the same chain was set back and went on in another way.
        return Fault(FaultKind.CHANGED, f"Another row is at position {walk.position}, the end.", walk.position)
    return None


def _stray(session: Session, *conditions: "sa.ColumnElement[bool]") -> Fault | None:
    """Return a row that has a place or a code which the chain did not give it."""
    found = session.execute(sa.select(AuditEvent.position, AuditEvent.id).where(*conditions).limit(1)).first()
    reason = "There is a row with a place or a code that the chain did not give it."
    return None if found is None else Fault(FaultKind.ADDITIONAL, reason, *found)
