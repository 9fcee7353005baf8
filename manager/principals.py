"""Who may use the management API: principals, their roles, and which projects they may see."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from manager.errors import NotFound


class Role(StrEnum):
    """What a principal may do; each may do all that the ones before it may."""

    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, wanted: "Role") -> bool:
        """Tell whether this role is enough where another one is asked for."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(wanted)


@dataclass(frozen=True)
class Scope:
    """The projects that may be seen; None: all of them."""

    project_ids: frozenset[UUID] | None = None

    def includes(self, project_id: UUID) -> bool:
        """Tell whether a project may be seen."""
        return self.project_ids is None or project_id in self.project_ids

    def narrowed(self, project_id: UUID | None) -> "Scope":
        """Return the part of this scope that is one project, nothing if it is out of it; None: all of it."""
        if project_id is None:
            return self
        return Scope(frozenset([project_id] if self.includes(project_id) else []))

    def check(self, project_id: UUID) -> None:
        """Raise NotFound for a project out of scope: whether there is such a one is not told."""
        if not self.includes(project_id):
            raise NotFound("There is no such project.")


EVERYTHING = Scope()


@dataclass(frozen=True)
class Principal:
    """Who sent a request. `id` is None for the bootstrap admin, who has the management token."""

    name: str
    role: Role
    scope: Scope = EVERYTHING
    id: UUID | None = None
