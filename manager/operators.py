"""Operators: who may use the management API, with which role, for which projects, until when.

Plain functions over a session; the caller commits. An operator is never deleted, since the audit names it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import operator_names
from manager.errors import Conflict, Invalid, NotFound
from manager.pages import Page, order, sorted_page
from manager.principals import EVERYTHING, Principal, Role, Scope
from manager.tables import Operator, Project, new_id
from shared import tokens

MOST_PROJECTS = 100
SORTS = {"created_at": None, "name": Operator.name, "last_used_at": Operator.last_used_at}
_STAMPED_EVERY = timedelta(minutes=1)


def create(
    session: Session,
    pepper: bytes,
    now: datetime,
    *,
    name: str,
    role: Role,
    project_ids: Sequence[UUID] | None = None,
    expires_in: timedelta | None = None,
) -> tuple[Operator, str]:
    """Add an operator; returns its row and its token, which is never shown again. Raises Invalid, Conflict.

    Without `project_ids` it sees every project, without `expires_in` its token works until it is revoked.
    """
    operator = Operator(id=new_id(), name=_free(session, operator_names.check(name)), version=0, created_at=now)
    secret = _give_token(operator, pepper)
    _set(session, operator, now, {"role": role, "project_ids": project_ids, "expires_in": expires_in})
    session.add(operator)
    _flush(session)
    return operator, secret


def get(session: Session, operator_id: UUID, *, for_update: bool = False) -> Operator:
    """Return an operator, locked against other changes if it is to be changed. Raises NotFound."""
    operator = session.get(Operator, operator_id, with_for_update=for_update)
    if operator is None:
        raise NotFound("There is no such operator.")
    return operator


def list_page(
    session: Session, limit: int, cursor: str | None, *, role: Role | None = None, sort: str = "-created_at"
) -> Page[Operator]:
    """Return a page of operators, newest first, those that were revoked as well; of a role unless None.

    Raises Invalid.
    """
    query = sa.select(Operator)
    if role is not None:
        query = query.where(Operator.role == role.value)
    return sorted_page(session, query, Operator.id, order(sort, SORTS), limit, cursor)


def update(session: Session, now: datetime, operator: Operator, **changes: Any) -> None:
    """Change role, project_ids (None: all), expires_in (from now; None: never). Raises Invalid, Conflict.

    The name stays for good: the audit tells by it who it was.
    """
    _demand_unrevoked(operator)
    _set(session, operator, now, changes)
    _flush(session)


def rotate(pepper: bytes, now: datetime, operator: Operator) -> str:
    """Give an operator another token, and return it; the old one ends at once. Raises Conflict."""
    _demand_unrevoked(operator)
    secret = _give_token(operator, pepper)
    _touch(operator, now)
    return secret


def revoke(operator: Operator, now: datetime) -> bool:
    """Revoke an operator for good. Tell whether anything changed."""
    if operator.revoked_at is not None:
        return False
    operator.revoked_at = now
    _touch(operator, now)
    return True


def find(session: Session, pepper: bytes, secret: str) -> Operator | None:
    """Return who has this token, whatever has become of it."""
    if not tokens.is_well_formed(secret, tokens.OPERATOR_PREFIX):
        return None
    return session.scalar(sa.select(Operator).where(Operator.digest == tokens.digest(secret, pepper)))


def why_not(operator: Operator, now: datetime) -> str | None:
    """Return why an operator's token does not work, None if it does."""
    if operator.revoked_at is not None:
        return "revoked"
    return "expired" if operator.expires_at is not None and operator.expires_at <= now else None


def principal_of(operator: Operator) -> Principal:
    """Return what an operator may do."""
    ids = operator.project_ids
    scope = EVERYTHING if ids is None else Scope(frozenset(map(UUID, ids)))
    return Principal(operator.name, Role(operator.role), scope, operator.id)


def is_stamp_due(operator: Operator, now: datetime) -> bool:
    """Tell whether it is time to write down that an operator's token was used."""
    return operator.last_used_at is None or operator.last_used_at <= now - _STAMPED_EVERY


def stamp(session: Session, operator_id: UUID, now: datetime) -> None:
    """Write down that an operator's token was used."""
    session.execute(sa.update(Operator).where(Operator.id == operator_id).values(last_used_at=now))


def shown(operator: Operator) -> dict[str, Any]:
    """Return what the audit tells of an operator."""
    expires_at = operator.expires_at and operator.expires_at.isoformat()
    return {
        "name": operator.name,
        "role": operator.role,
        "project_ids": operator.project_ids,
        "expires_at": expires_at,
    }


def _set(session: Session, operator: Operator, now: datetime, changes: dict[str, Any]) -> None:
    if "role" in changes:
        operator.role = changes["role"].value
    if "project_ids" in changes:
        # What is not valid yet, such as a name that is taken, is not to be written by a look at the projects.
        with session.no_autoflush:
            operator.project_ids = _checked_projects(session, changes["project_ids"])
    if operator.role == Role.ADMIN and operator.project_ids is not None:
        raise Invalid("project_ids", "An admin sees every project.")
    if "expires_in" in changes:
        operator.expires_at = None if changes["expires_in"] is None else now + changes["expires_in"]
    _touch(operator, now)


def _free(session: Session, name: str) -> str:
    if any(operator_names.is_alike(name, other) for other in session.scalars(sa.select(Operator.name))):
        raise Conflict("There is, or was, an operator of this name already.")
    return name


def _checked_projects(session: Session, ids: Sequence[UUID] | None) -> list[str] | None:
    if ids is None:
        return None
    wanted = set(ids)
    if not 1 <= len(wanted) <= MOST_PROJECTS:
        raise Invalid("project_ids", f"Must name 1 to {MOST_PROJECTS} projects, or be null for all.")
    found = session.scalars(sa.select(Project.id).where(Project.id.in_(wanted))).all()
    if missing := wanted - set(found):
        raise Invalid("project_ids", f"There is no project {min(missing)}.")
    return sorted(map(str, wanted))


def _give_token(operator: Operator, pepper: bytes) -> str:
    secret = tokens.generate(prefix=tokens.OPERATOR_PREFIX)
    operator.digest, operator.masked = tokens.digest(secret, pepper), tokens.mask(secret)
    return secret


def _demand_unrevoked(operator: Operator) -> None:
    if operator.revoked_at is not None:
        raise Conflict("The operator has been revoked; that is for good. Make a new one.")


def _touch(operator: Operator, now: datetime) -> None:
    operator.version += 1
    operator.updated_at = now


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("There is, or was, an operator of this name already.") from error
