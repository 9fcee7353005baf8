"""What projects and tokens are called, of many at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.tables import Project, Token


@dataclass(frozen=True)
class Names:
    """Names of projects and labels of tokens; what has been purged has none."""

    projects: Mapping[UUID, str] = field(default_factory=dict)
    tokens: Mapping[UUID, str] = field(default_factory=dict)


def of(session: Session, projects: Iterable[UUID] = (), tokens: Iterable[UUID] = ()) -> Names:
    """Return what these are called, in one query."""
    parts = [
        sa.select(sa.literal(table.__tablename__), table.id, name).where(table.id.in_(ids))
        for table, name, ids in ((Project, Project.name, set(projects)), (Token, Token.label, set(tokens)))
        if ids
    ]
    found: dict[str, dict[UUID, str]] = {"projects": {}, "tokens": {}}
    if parts:
        for kind, key, name in session.execute(sa.union_all(*parts)):
            found[kind][key] = name
    return Names(**found)
