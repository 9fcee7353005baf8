"""The links of the audit's chain: each row's code covers the row and the code before it, so that no row stands alone.

A code is HMAC-SHA-256, as hex, under a key that only the control plane has: who can write to the database but not read
its key can make no code that fits.
"""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from manager.tables import AuditChain, AuditEvent
from shared.sealing import Keyring, SealingError

NAME = "audit"
PLACE = f"audit_chain:{NAME}"
BATCH = 1000

# What a code covers, in this order; a row is read with its own code behind it.
COVERED = (
    AuditEvent.position,
    AuditEvent.id,
    AuditEvent.occurred_at,
    AuditEvent.action,
    AuditEvent.actor,
    AuditEvent.actor_id,
    AuditEvent.outcome,
    AuditEvent.project_id,
    AuditEvent.token_id,
    AuditEvent.request_id,
    AuditEvent.subject_id,
    AuditEvent.address,
    AuditEvent.detail,
    AuditEvent.chained_at,
)
COLUMNS = (*COVERED, AuditEvent.mac)


class FaultKind(StrEnum):
    """What is wrong with a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDITIONAL = "additional"
    RECORD = "record"


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong, with the place of the row and its id where they are known."""

    kind: FaultKind
    reason: str
    position: int | None = None
    id: UUID | None = None


class ChainBroken(Exception):
    """The chain cannot be gone on with; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


def code(key: bytes, previous: str, covered: Sequence[Any]) -> str:
    """Return the code of a row that follows on another one's code (empty: on none). `covered` is as in COVERED."""
    return hmac.digest(key, f"{previous}{_canonical(covered)}".encode(), "sha256").hex()


def seal(key: bytes, record: AuditChain) -> str:
    """Return the code of the chain's own record."""
    told = [record.name, record.position, record.mac, record.kept_position, record.kept_mac]
    return hmac.digest(key, f"record:{_canonical(told)}".encode(), "sha256").hex()


class Walk:
    """Goes along a chain, row by row in the order of their positions, from behind the row at `position`."""

    def __init__(self, key: bytes, position: int, mac: str) -> None:
        self._key = key
        self.position = position
        self.mac = mac

    def step(self, row: Sequence[Any]) -> Fault | None:
        """Take the next row, as read by COLUMNS; return what is wrong with it, and stay where we are then."""
        *covered, mac = row
        position, row_id, wanted = covered[0], covered[1], self.position + 1
        if position < wanted:
            reason = f"There is a row at position {position}, where the chain had ended or was cut off."
            return Fault(FaultKind.ADDITIONAL, reason, position, row_id)
        if position > wanted:
            return missing(wanted, position - 1)
        if not hmac.compare_digest(code(self._key, self.mac, covered).encode(), (mac or "").encode()):
            reason = f"The row at position {position} is not what was written there."
            return Fault(FaultKind.CHANGED, reason, position, row_id)
        self.position, self.mac = position, mac
        return None


def missing(first: int, last: int) -> Fault:
    """Return the fault of rows that are not there."""
    which = f"The row at position {first} is" if first == last else f"The rows at positions {first} to {last} are"
    return Fault(FaultKind.MISSING, f"{which} missing.", first)


def recorded_at(row_id: UUID) -> float:
    """Return when an event was written down, in seconds since the epoch, as its UUIDv7 tells."""
    return (row_id.int >> 80) / 1000


def open_key(keyring: Keyring, record: AuditChain) -> bytes:
    """Return the key of a chain. Raises ChainBroken if it does not open, or if the record was tampered with."""
    try:
        key = bytes.fromhex(keyring.open(record.sealed_key, PLACE))
    except SealingError as error:
        raise ChainBroken(Fault(FaultKind.RECORD, f"The chain's key does not open: {error}.")) from error
    if not hmac.compare_digest(seal(key, record).encode(), record.seal.encode()):
        raise ChainBroken(Fault(FaultKind.RECORD, "The chain's record is not what was written there."))
    return key


def in_order() -> "sa.Select[Any]":
    """Return the query of all rows that have a place, by COLUMNS and in the order of their positions."""
    return sa.select(*COLUMNS).where(AuditEvent.position.is_not(None)).order_by(AuditEvent.position)


def _canonical(values: Sequence[Any]) -> str:
    return json.dumps(values, default=_plain, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
