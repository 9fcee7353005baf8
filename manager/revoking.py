"""Many tokens revoked in one statement, however they were found."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.tables import Token


def revoke(session: Session, now: datetime, which: "sa.ColumnElement[bool]") -> list[tuple[UUID, UUID]]:
    """Revoke for good those tokens that fit and were not revoked before; return each one's project's id and its own."""
    revoked = session.execute(
        sa.update(Token)
        .where(Token.revoked_at.is_(None), which)
        .values(is_active=False, revoked_at=now, updated_at=now, version=Token.version + 1)
        .returning(Token.project_id, Token.id)
        .execution_options(synchronize_session=False)
    )
    return [(row.project_id, row.id) for row in revoked]
