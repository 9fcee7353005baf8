"""A project found by what somebody typed: its name or its id."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import texts
from manager.errors import NotFound
from manager.principals import EVERYTHING, Scope
from manager.tables import Project


def find(session: Session, text: str, scope: Scope = EVERYTHING) -> UUID:
    """Return the id of the project that has this exact name, or this id. Raises NotFound."""
    wanted = text.strip()
    known = session.scalar(sa.select(Project.id).where(Project.name == wanted)) if texts.is_text(wanted) else None
    found = known or session.scalar(sa.select(Project.id).where(Project.id == _id(wanted)))
    if found is None or not scope.includes(found):
        raise NotFound("There is no such project.")
    return found


def name(session: Session, project_id: UUID) -> str:
    """Return what a project is called. Raises NotFound."""
    found = session.scalar(sa.select(Project.name).where(Project.id == project_id))
    if found is None:
        raise NotFound("There is no such project.")
    return found


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
