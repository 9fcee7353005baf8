"""Operators of two states of a database: each may do what he might in both of them, and has the newer token."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.orm import Session

from manager.principals import Role
from manager.tables import Operator


def apply(session: Session, others: Iterable[Operator], now: datetime) -> dict[str, int]:
    """Restrict operators to what they may do in the other state as well; return how many were, by kind."""
    revoked = restricted = 0
    for other in others:
        operator = session.get(Operator, other.id)
        if operator is None:
            continue
        if other.revoked_at is not None and operator.revoked_at is None:
            operator.revoked_at = operator.updated_at = now
            revoked += 1
        elif _restrict(operator, other):
            operator.updated_at = now
            restricted += 1
    session.flush()
    return {"operators revoked": revoked, "operators restricted": restricted}


def _restrict(operator: Operator, other: Operator) -> bool:
    """Tell whether anything changed."""
    before = _rights(operator)
    if other.updated_at > operator.updated_at:
        operator.digest, operator.masked = other.digest, other.masked
    if Role(operator.role).covers(Role(other.role)):
        operator.role = other.role
    operator.project_ids = _common(operator.project_ids, other.project_ids)
    operator.expires_at = min((end for end in (operator.expires_at, other.expires_at) if end), default=None)
    return _rights(operator) != before


def _rights(operator: Operator) -> tuple[object, ...]:
    return operator.digest, operator.role, operator.project_ids, operator.expires_at


def _common(some: list[str] | None, others: list[str] | None) -> list[str] | None:
    """Return what is in both; None is everything."""
    if some is None or others is None:
        return others if some is None else some
    return [project_id for project_id in some if project_id in others]
