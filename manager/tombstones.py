"""What was purged, until Redis has heard of it: no late publish of an older version brings it back."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from manager.tables import Tombstone

type Kind = Literal["project", "token"]


def add(session: Session, kind: Kind, row_id: UUID, version: int, now: datetime, digest: str | None = None) -> None:
    """Note that a row of this version is gone; `digest` is that of a token. The caller commits."""
    session.add(Tombstone(id=row_id, kind=kind, version=version, purged_at=now, digest=digest))
