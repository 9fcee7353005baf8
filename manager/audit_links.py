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
from sqlalchemy.exc import DBAPIError

from manager.tables import AuditChain, AuditEvent
from manager.transactions import is_transient
from shared.sealing import Keyring, SealingError

NAME = "audit"
PLACE = f"audit_chain:{NAME}"
BATCH = 1000
# What reading a row raises whose values are none of their columns' types.
UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, DBAPIError)

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
    told = [record.name, record.chain_id, record.position, record.mac, record.kept_position, record.kept_mac]
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
        if type(position) is not int:  # SQLite keeps whatever it is given.
            return changed(wanted, row_id)
        if position < wanted:
            reason = f"There is a row at position {position}, where the chain had ended or was cut off."
            return Fault(FaultKind.ADDITIONAL, reason, position, row_id)
        if position > wanted:
            return missing(wanted, position - 1)
        if not isinstance(mac, str) or not _is_equal(code(self._key, self.mac, covered), mac):
            return changed(position, row_id)
        self.position, self.mac = position, mac
        return None


def missing(first: int, last: int) -> Fault:
    """Return the fault of rows that are not there."""
    which = f"The row at position {first} is" if first == last else f"The rows at positions {first} to {last} are"
    return Fault(FaultKind.MISSING, f"{which} missing.", first)


def changed(position: int, row_id: UUID | None = None) -> Fault:
    """Return the fault of a row that is another one than was chained."""
    return Fault(FaultKind.CHANGED, f"The row at position {position} is not what was written there.", position, row_id)


def open_key(keyring: Keyring, record: AuditChain) -> bytes:
    """Return the key of a chain. Raises ChainBroken if it does not open, or if the record was tampered with."""
    try:
        key = bytes.fromhex(keyring.open(record.sealed_key, PLACE))
    except (SealingError, *UNREADABLE) as error:
        raise ChainBroken(Fault(FaultKind.RECORD, f"The chain's key does not open: {error}.")) from error
    if not isinstance(record.seal, str) or not _is_equal(seal(key, record), record.seal):
        raise ChainBroken(Fault(FaultKind.RECORD, "The chain's record is not what was written there."))
    return key


def in_order() -> "sa.Select[Any]":
    """Return the query of all rows that have a place, by COLUMNS and in the order of their positions."""
    return sa.select(*COLUMNS).where(AuditEvent.position.is_not(None)).order_by(AuditEvent.position)


def is_unreadable(error: Exception) -> bool:
    """Tell whether an error of reading a row says that what is there is no value of its column.

    Of whoever writes to the file of an SQLite, any column takes anything.
    """
    return not (isinstance(error, DBAPIError) and is_transient(error))


def _is_equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogatepass"))


def _canonical(values: Sequence[Any]) -> str:
    return json.dumps(values, default=_plain, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
