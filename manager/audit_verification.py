"""Verifying the audit: goes along the whole chain and tells the first row that was changed, taken out or put in."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.audit_links import (
    BATCH,
    NAME,
    UNREADABLE,
    ChainBroken,
    Fault,
    FaultKind,
    Walk,
    changed,
    in_order,
    is_unreadable,
    missing,
    open_key,
)
from manager.tables import AuditChain, AuditEvent
from shared.sealing import Keyring

_HALF_CHAINED = sa.and_(AuditEvent.position.is_(None), AuditEvent.mac.is_not(None))


@dataclass(frozen=True)
class Anchor:
    """The end of the chain at some earlier time, as somebody noted it elsewhere; with its id, if that is known."""

    position: int
    mac: str
    chain: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Read `chain:position:mac`, or `position:mac`. Raises ValueError."""
        chain, _, end = text.strip().partition(":") if text.count(":") == 2 else ("", "", text.strip())
        position, _, mac = end.partition(":")
        is_number = position.isascii() and position.isdecimal() and len(position) < 19
        if not is_number or len(mac) != 64 or not mac.isascii() or not mac.isalnum():
            raise ValueError("An anchor is chain:position:mac, as an earlier verification told them.")
        return cls(int(position), mac, chain or None)


@dataclass(frozen=True)
class Report:
    """What verifying found: `rows` that fit, behind `kept_position` up to the end, which is `position` and `mac`.

    `chain` is the chain's id, which changes if it is begun anew.

    `unchained` events wait for their place; the oldest is of `unchained_since`. `fault` is the first thing wrong.
    """

    rows: int
    kept_position: int
    position: int
    mac: str
    unchained: int
    unchained_since: datetime | None
    fault: Fault | None
    chain: str = ""

    @property
    def anchor(self) -> str:
        """The end, to be held against the chain later."""
        return f"{self.chain}:{self.position}:{self.mac}" if self.chain else f"{self.position}:{self.mac}"

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
    try:
        unchained, since = session.execute(waiting.where(AuditEvent.position.is_(None))).one()
    except UNREADABLE as error:
        if not is_unreadable(error):
            raise
        unchained, since = session.scalar(waiting.with_only_columns(sa.func.count())) or 0, None
    record = session.get(AuditChain, NAME)
    if record is None:
        chained = sa.or_(AuditEvent.position.is_not(None), AuditEvent.mac.is_not(None))
        fault = _stray(session, chained) or _anchored(anchor, Walk(b"", 0, ""))
        return Report(0, 0, 0, "", unchained, since, fault)
    rows, fault = _go_along(session, keyring, record, anchor)
    if fault is not None and fault.kind is FaultKind.RECORD:
        return Report(0, 0, 0, "", unchained, since, fault)  # Nothing that it says is worth telling.
    return Report(
        rows, record.kept_position, record.position, record.mac, unchained, since, fault, chain=record.chain_id
    )


def _go_along(
    session: Session, keyring: Keyring, record: AuditChain, anchor: Anchor | None
) -> tuple[int, Fault | None]:
    try:
        walk = Walk(open_key(keyring, record), record.kept_position, record.kept_mac)
    except ChainBroken as error:
        return 0, error.fault
    if anchor and anchor.chain and anchor.chain != record.chain_id:
        reason = f"The chain was begun anew: it is {record.chain_id}, not {anchor.chain}."
        return 0, Fault(FaultKind.CHANGED, reason, anchor.position)
    if anchor and anchor.position < record.kept_position:
        anchor = None
    fault = None
    for row in _rows(session, walk):
        if fault := _passed(anchor, walk) or _taken(record, walk, row):
            break
    fault = fault or _ended(record, walk) or _anchored(anchor, walk) or _stray(session, _HALF_CHAINED)
    return walk.position - record.kept_position, fault


def _rows(session: Session, walk: Walk) -> "Iterator[sa.Row[Any] | Fault]":
    """Read all rows that have a place; the fault of one that cannot be read is in its place, and the last."""
    try:
        with session.execute(in_order().execution_options(yield_per=BATCH)) as found:
            yield from found
    except UNREADABLE as error:
        if not is_unreadable(error):
            raise
        yield from _one_by_one(session, walk)


def _one_by_one(session: Session, walk: Walk) -> "Iterator[sa.Row[Any] | Fault]":
    # Many were read at once, and those before the one that cannot be are yet to be looked at.
    while True:
        try:
            row = session.execute(in_order().where(AuditEvent.position > walk.position).limit(1)).first()
        except UNREADABLE as error:
            if not is_unreadable(error):
                raise
            yield changed(walk.position + 1)
            return
        if row is None:
            return
        yield row


def _taken(record: AuditChain, walk: Walk, row: "sa.Row[Any] | Fault") -> Fault | None:
    return row if isinstance(row, Fault) else _beyond(record, walk, row) or walk.step(row)


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
    reason = "There is a row with a place or a code that the chain did not give it."
    try:
        found = session.execute(sa.select(AuditEvent.position, AuditEvent.id).where(*conditions).limit(1)).first()
    except UNREADABLE as error:
        if not is_unreadable(error):
            raise
        return Fault(FaultKind.ADDITIONAL, reason)
    return None if found is None else Fault(FaultKind.ADDITIONAL, reason, *found)
