"""What was revoked in a database since a moment, so that it stays revoked when an earlier state takes its place."""

from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import schema
from manager.tables import Operator, Project, Token

BATCH = 500


@dataclass(frozen=True)
class Revocations:
    """Ids of revoked tokens and operators, and of projects that were deactivated or deleted."""

    tokens: frozenset[UUID] = frozenset()
    operators: frozenset[UUID] = frozenset()
    deactivated: frozenset[UUID] = frozenset()
    deleted: frozenset[UUID] = frozenset()

    @classmethod
    def since(cls, connection: sa.Connection, moment: datetime) -> "Revocations":
        """Read what was revoked since then; nothing of a database that is not of this schema."""
        if not schema.status(connection).is_current:
            return cls()
        off = sa.select(Project.id).where(Project.is_active.is_(False), Project.deactivated_at >= moment)
        return cls(
            tokens=_ids(connection, sa.select(Token.id).where(Token.revoked_at >= moment)),
            operators=_ids(connection, sa.select(Operator.id).where(Operator.revoked_at >= moment)),
            deactivated=_ids(connection, off),
            deleted=_ids(connection, sa.select(Project.id).where(Project.deleted_at >= moment)),
        )

    def apply(self, session: Session, now: datetime) -> dict[str, int]:
        """Revoke what is not revoked already; return how many there were of each kind."""
        inactive = {"is_active": False, "updated_at": now}
        return {
            "tokens": _set(session, Token, self.tokens, Token.revoked_at, inactive | {"revoked_at": now}),
            "operators": _set(session, Operator, self.operators, Operator.revoked_at, {"revoked_at": now}),
            "deactivated": _set(
                session, Project, self.deactivated, Project.deactivated_at, inactive | {"deactivated_at": now}
            ),
            "deleted": _set(session, Project, self.deleted, Project.deleted_at, inactive | {"deleted_at": now}),
        }


def _ids(connection: sa.Connection, query: "sa.Select[UUID]") -> frozenset[UUID]:
    return frozenset(connection.scalars(query))


def _set(
    session: Session,
    table: type[Token] | type[Operator] | type[Project],
    ids: frozenset[UUID],
    unset: "sa.orm.InstrumentedAttribute[datetime | None]",
    values: dict[str, object],
) -> int:
    """Set values in those rows where a column is not set yet; return how many there were."""
    count = 0
    for some in batched(sorted(ids), BATCH):
        change = sa.update(table).where(table.id.in_(some), unset.is_(None)).values(values)
        found = session.execute(change.execution_options(synchronize_session=False))
        count += int(getattr(found, "rowcount", 0))
    return count
