"""What a revocation of many tokens would end: which, and how many of which projects. Plain functions over a session."""

import hashlib
from collections import Counter
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


def fitting(session: Session, now: datetime, scope: Scope = EVERYTHING, **wanted: Any) -> Sequence[tuple[UUID, UUID]]:
    """Return the ids of project and token of those that fit filters (see tokens.matching) and are not revoked."""
    found = tokens.matching(session, sa.select(Token.project_id), now, scope, **wanted).where(_NOT_REVOKED)
    return [(row[0], row[1]) for row in session.execute(found.add_columns(Token.id))]


def by_project(found: Sequence[tuple[UUID, UUID]]) -> Mapping[UUID, int]:
    """Return how many tokens there are of each project, the most first."""
    counts = Counter(project_id for project_id, _ in found)
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def digest(found: Sequence[tuple[UUID, UUID]]) -> str:
    """Return what is the same for the same tokens only, in whatever order they were found."""
    return hashlib.sha256(b"".join(sorted(token_id.bytes for _, token_id in found))).hexdigest()
