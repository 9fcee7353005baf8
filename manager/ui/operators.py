"""Operators: the list of them, and the page of one. For admins only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import audit_search, db, names, operators
from manager.api.operators import OperatorQuery
from manager.current import now, services
from manager.pages import Page
from manager.principals import Role
from manager.tables import Operator
from manager.ui.blueprint import blueprint, needs
from manager.ui.forms import Choice, Field, Kind
from manager.ui.lists import listed
from manager.ui.operator_fields import ROLES

# Of each list on an operator's page, and of projects in a row.
_NEWEST, _NAMED = 10, 3


@dataclass(frozen=True)
class Shown:
    """An operator with its state, and the names of the projects that it is for; None: it is for all."""

    row: Operator
    state: str
    projects: Sequence[str] | None


def shown(session: Session, rows: Iterable[Operator], most: int | None = None) -> list[Shown]:
    """Return operators as pages show them, each with the names of so many of its projects."""
    found = list(rows)
    wanted = {UUID(each) for row in found for each in (row.project_ids or ())[:most]}
    known = names.of(session, projects=wanted).projects
    return [Shown(row, state_of(row), _named(row, known)) for row in found]


def state_of(row: Operator) -> str:
    """Return `active`, `expired` or `revoked`."""
    return operators.why_not(row, now()) or "active"


@blueprint.get("/operators", endpoint="operators")
@needs(Role.ADMIN)
def all_operators() -> ResponseReturnValue:
    """Show the list."""
    roles = [Choice("", "Any"), *(Choice(role.value, role.value.capitalize()) for role in Role)]
    filters = [Field("role", "Role", kind=Kind.SELECT, choices=roles)]
    return listed(OperatorQuery(), filters, "operators/list.html", _find, named=_NAMED)


@blueprint.get("/operators/<uuid:operator_id>")
@needs(Role.ADMIN)
def operator(operator_id: UUID) -> str:
    """Show an operator: what it may do, what it did, and what was done to it."""
    with db.reading(services().sessions) as session:
        [known] = shown(session, [operators.get(session, operator_id)])
        by = audit_search.list_page(session, _NEWEST, None, actor_id=operator_id).items
        to = audit_search.list_page(session, _NEWEST, None, subject_id=operator_id).items
    return render_template("operators/page.html", operator=known, by=by, to=to, roles=ROLES)


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        page = operators.list_page(session, **query)
        return {"page": Page(shown(session, page.items, _NAMED), page.next_cursor)}


def _named(row: Operator, known: Mapping[UUID, str]) -> Sequence[str] | None:
    """Return names, of purged projects their ids; those beyond what is known are left out."""
    if row.project_ids is None:
        return None
    return [known.get(UUID(each), each) for each in row.project_ids]
