"""What was purged, until Redis has heard of it: each row is written in the transaction that purges.

Redis then remembers on its own, long enough that no late publish brings anything back.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.tables import Tombstone


class Kind(StrEnum):
    """What can be purged."""

    PROJECT = "project"
    TOKEN = "token"  # noqa: S105 - a kind


def add(session: Session, kind: str, id: UUID, version: int, now: datetime, digest: str | None = None) -> None:
    """Note that a project or a token (then with the digest of its last secret) was purged at this version."""
    row = {"id": id, "kind": Kind(kind).value, "version": version, "purged_at": now, "digest": digest}
    session.execute(sa.insert(Tombstone), [row])


def oldest(session: Session, limit: int) -> Sequence[Tombstone]:
    """Return those that Redis has not heard of; tokens come before their projects."""
    order = (Tombstone.kind.desc(), Tombstone.id)
    return session.scalars(sa.select(Tombstone).order_by(*order).limit(limit)).all()


def remove(session: Session, ids: Iterable[UUID]) -> None:
    """Forget those that Redis has heard of."""
    session.execute(sa.delete(Tombstone).where(Tombstone.id.in_(list(ids))))
