"""What was taken away in a database since a moment, so that it stays away when an earlier state takes its place.

Of projects and operators there are few; what became of tokens waits in a temporary table of the same connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import restrictions
from manager.audit import Action
from manager.tables import AuditEvent, Operator, Project, Token, Tombstone

BATCH = 500
_TOKENS: Any = Token.__table__
_TOMBSTONES: Any = Tombstone.__table__
_SECRETS = ("digest", "masked", "previous_digest", "previous_until", "refreshed_at")


def _temporary(table: sa.Table, *names: str) -> sa.Table:
    columns = [sa.Column(name, table.c[name].type) for name in names or table.c.keys()]
    return sa.Table(f"kept_{table.name}", sa.MetaData(), *columns, prefixes=["TEMPORARY"])


_KEPT = _temporary(_TOKENS, "id", "is_active", "expires_at", "revoked_at", *_SECRETS)
_KEPT_TOMBSTONES = _temporary(_TOMBSTONES)


@dataclass(frozen=True)
class Revocations:
    """Operators that were changed, ids of projects that were deactivated, or deleted; tokens as said above."""

    moment: datetime
    operators: Sequence[Operator] = field(default_factory=list)
    deactivated: frozenset[UUID] = frozenset()
    deleted: frozenset[UUID] = frozenset()

    @classmethod
    def since(cls, connection: sa.Connection, moment: datetime) -> "Revocations":
        """Read from a database of this schema what was taken away since then."""
        _fill(connection, _KEPT, _TOKENS, sa.or_(*(_TOKENS.c[n] >= moment for n in ("updated_at", "revoked_at"))))
        _fill(connection, _KEPT_TOMBSTONES, _TOMBSTONES, sa.true())
        off = sa.select(Project.id).where(Project.is_active.is_(False), Project.deactivated_at >= moment)
        # A purge takes the row itself away, and only the audit remembers that the project had been deleted.
        purged = sa.select(AuditEvent.project_id).where(
            AuditEvent.action == Action.PROJECT_PURGE.value, AuditEvent.occurred_at >= moment
        )
        gone = set(connection.scalars(sa.select(Project.id).where(Project.deleted_at >= moment)))
        gone |= {project_id for project_id in connection.scalars(purged) if project_id is not None}
        with Session(connection) as session:
            changed = sa.or_(Operator.updated_at >= moment, Operator.revoked_at >= moment)
            operators = session.scalars(sa.select(Operator).where(changed)).all()
            session.expunge_all()
        return cls(moment, operators, frozenset(connection.scalars(off)) | gone, frozenset(gone))

    def apply(self, session: Session, now: datetime) -> dict[str, int]:
        """Take it away again from what is there now; return how much there was of each kind."""
        inactive = {"is_active": False, "updated_at": now}
        counts = {
            "projects deactivated": _set(session, self.deactivated, Project.deactivated_at, inactive, now),
            "projects deleted": _set(session, self.deleted, Project.deleted_at, inactive, now),
            **self._tokens(session, now),
            **restrictions.apply(session, self.operators, now),
        }
        _keep_tombstones(session)
        for table in (_KEPT, _KEPT_TOMBSTONES):
            table.drop(session.connection())
        return counts

    def _tokens(self, session: Session, now: datetime) -> dict[str, int]:
        token, kept = _TOKENS.c, _KEPT.c
        revoked = {"is_active": False, "revoked_at": now, "updated_at": now}
        is_valid, is_older = token.revoked_at.is_(None), token.refreshed_at < kept.refreshed_at
        of_deleted = token.project_id.in_(sa.select(Project.id).where(Project.deleted_at == now))
        with_projects = _count(session.execute(sa.update(_TOKENS).where(is_valid, of_deleted).values(revoked)))
        by_themselves = _change(session, now, revoked, is_valid, kept.revoked_at >= self.moment)
        secrets = {name: kept[name] for name in _SECRETS}
        is_newer = sa.and_(token.digest != kept.digest, sa.or_(token.refreshed_at.is_(None), is_older))
        return {
            "tokens revoked": with_projects + by_themselves,
            "tokens refreshed": _change(session, now, secrets, kept.refreshed_at.is_not(None), is_newer),
            "tokens paused": _change(session, now, {"is_active": False}, token.is_active, sa.not_(kept.is_active)),
            "tokens shortened": _change(
                session, now, {"expires_at": kept.expires_at}, kept.expires_at < token.expires_at
            ),
        }


def _fill(connection: sa.Connection, kept: sa.Table, table: sa.Table, wanted: "sa.ColumnElement[bool]") -> None:
    kept.create(connection)
    rows = sa.select(*(table.c[column.name] for column in kept.c)).where(wanted)
    connection.execute(sa.insert(kept).from_select([column.name for column in kept.c], rows))


def _change(session: Session, now: datetime, values: dict[str, Any], *wanted: "sa.ColumnElement[bool]") -> int:
    """Change tokens that are kept."""
    change = sa.update(_TOKENS).where(_TOKENS.c.id == _KEPT.c.id, *wanted).values(values | {"updated_at": now})
    return _count(session.execute(change))


def _keep_tombstones(session: Session) -> None:
    """Keep those of what did not come back: Redis may still not have heard of it."""
    there = [sa.select(table.id) for table in (Project, Token, Tombstone)]
    names = [column.name for column in _KEPT_TOMBSTONES.c]
    rows = sa.select(*_KEPT_TOMBSTONES.c).where(*(_KEPT_TOMBSTONES.c.id.not_in(ids) for ids in there))
    session.execute(sa.insert(_TOMBSTONES).from_select(names, rows))


def _set(
    session: Session,
    ids: frozenset[UUID],
    unset: "sa.orm.InstrumentedAttribute[datetime | None]",
    values: dict[str, object],
    now: datetime,
) -> int:
    """Set a moment, and values, in those projects that have none yet; return how many there were."""
    count = 0
    for some in batched(sorted(ids), BATCH):
        change = sa.update(Project).where(Project.id.in_(some), unset.is_(None)).values(values | {unset.key: now})
        count += _count(session.execute(change.execution_options(synchronize_session=False)))
    return count


def _count(result: "sa.Result[Any]") -> int:
    return int(getattr(result, "rowcount", 0))
