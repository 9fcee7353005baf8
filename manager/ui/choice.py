"""Which project somebody wants to see the figures of: named, or by its id, in a parameter of the address."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from manager import db, project_choice
from manager.current import scope, services
from manager.errors import NotFound
from manager.principals import Scope
from manager.tables import NAME_LENGTH, Project
from manager.ui.memory import memory

# Names that are proposed where a project is asked for, and for how many seconds they are the same.
_PROPOSED, _PROPOSED_SECONDS = 200, 10.0


@dataclass(frozen=True)
class Choice:
    """What was asked for (empty: nothing), and the project that it is, if there is one in scope."""

    wanted: str = ""
    id: UUID | None = None
    name: str = ""

    @property
    def scope(self) -> Scope:
        """Return what is shown: of the project, of none if it is not there, or of all if none was asked for."""
        if self.id is not None:
            return scope().narrowed(self.id)
        return Scope(frozenset()) if self.wanted else scope()

    @property
    def is_missed(self) -> bool:
        """Whether there is no such project."""
        return bool(self.wanted) and self.id is None


def teach(app: Flask) -> None:
    """Let templates propose projects."""
    app.jinja_env.globals["proposed_projects"] = proposed


def chosen(args: Mapping[str, str]) -> Choice:
    """Return what the parameter `project` asks for."""
    wanted = args.get("project", "").strip()[:NAME_LENGTH]
    return _read(lambda session: _find(session, wanted)) if wanted else Choice()


def proposed() -> list[str]:
    """Return the first names of projects in scope."""
    return memory().get(("names", scope()), _PROPOSED_SECONDS, lambda: _read(_names))


def _find(session: Session, wanted: str) -> Choice:
    try:
        found = project_choice.find(session, wanted, scope())
        return Choice(wanted, found, project_choice.name(session, found))
    except NotFound:
        return Choice(wanted)


def _names(session: Session) -> list[str]:
    query = sa.select(Project.name).where(Project.deleted_at.is_(None)).order_by(Project.name).limit(_PROPOSED)
    if (ids := scope().project_ids) is not None:
        query = query.where(Project.id.in_(ids))
    return list(session.scalars(query))


def _read[Found](read: Callable[[Session], Found]) -> Found:
    with db.reading(services().sessions) as session:
        return read(session)
