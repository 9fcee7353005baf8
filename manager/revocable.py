"""What a revocation of many tokens would end: how many of which projects. Plain functions over a session."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import tokens
from manager.principals import EVERYTHING, Scope
from manager.tables import Token

_NOT_REVOKED = Token.revoked_at.is_(None)


def these(session: Session, ids: Sequence[UUID], scope: Scope = EVERYTHING) -> Sequence[Token]:
    """Return those of some tokens that have not been revoked, by their labels."""
    query = sa.select(Token).where(Token.id.in_(ids), _NOT_REVOKED).order_by(Token.label, Token.id)
    return [row for row in session.scalars(query) if scope.includes(row.project_id)]


def by_project(session: Session, now: datetime, scope: Scope = EVERYTHING, **wanted: Any) -> Mapping[UUID, int]:
    """Return how many tokens that fit filters (see tokens.matching) have not been revoked, the most first."""
    count = sa.func.count()
    fitting = tokens.matching(session, sa.select(Token.project_id), now, scope, **wanted).where(_NOT_REVOKED)
    query = fitting.add_columns(count).group_by(Token.project_id).order_by(count.desc(), Token.project_id)
    return {row[0]: row[1] for row in session.execute(query)}
