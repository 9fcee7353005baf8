"""Projects: the list of them, and the page of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import audit_search, db, names, project_figures, projects, recent_requests, standing, tokens
from manager.api.project_shapes import ProjectQuery
from manager.api.projects import ShownProject, shown
from manager.current import now, scope, services
from manager.pages import Page
from manager.project_figures import Use
from manager.tables import Project
from manager.ui import project_charts
from manager.ui.blueprint import blueprint
from manager.ui.forms import Choice, Field, Kind
from manager.ui.lists import listed
from manager.ui.project_fields import feature_label
from shared.models import Scope

# Of each list on a project's page.
_NEWEST = 10
_NOTHING = Use()


@dataclass(frozen=True)
class Shown:
    """A project in a list."""

    shown: ShownProject
    month: Use

    @property
    def row(self) -> Project:
        """The project itself."""
        return self.shown.row

    @property
    def state(self) -> str:
        """Whether it serves requests."""
        return state_of(self.row)

    @property
    def health(self) -> str:
        """How its keys are: that of the worst one in use."""
        return health_of(self.shown)


def health_of(project: ShownProject) -> str:
    """Return `ok`, `set_aside`, `unknown` (Redis is away) or `none` (no key is active)."""
    used = [key.health for key in project.keys if key.row.is_active]
    if not used:
        return "none"
    if any(health is None for health in used):
        return "unknown"
    return "set_aside" if any(health and health.state == "set_aside" for health in used) else "ok"


def state_of(row: Project) -> str:
    """Return `active`, `inactive` or `deleted`."""
    if row.deleted_at is not None:
        return "deleted"
    return "active" if row.is_active else "inactive"


@blueprint.get("/projects", endpoint="projects")
def all_projects() -> ResponseReturnValue:
    """Show the list, or that part of it which is asked for."""
    return listed(ProjectQuery(), _filters(), "projects/list.html", _find)


def _filters() -> Sequence[Field]:
    providers = [Choice(name, name) for name in sorted(services().rules.table.providers)]
    states = (Choice("", "Any"), Choice("true", "Active"), Choice("false", "Inactive"))
    return (
        Field("name_contains", "Name contains"),
        Field("provider", "Provider", kind=Kind.SELECT, choices=[Choice("", "Any"), *providers]),
        Field("is_active", "State", kind=Kind.SELECT, choices=states),
        Field("deleted", "Deleted", kind=Kind.SELECT, choices=(Choice("", "No"), Choice("true", "Yes"))),
    )


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        page = projects.list_page(session, scope=scope(), **query)
        months = project_figures.months(session, now(), [row.id for row in page.items])
    items = [Shown(each, months.get(each.row.id, _NOTHING)) for each in shown(*page.items)]
    return {"page": Page(items, page.next_cursor)}


@blueprint.get("/projects/<uuid:project_id>")
def project(project_id: UUID) -> str:
    """Show a project: what it is, what it used, and what happened lately."""
    with db.reading(services().sessions) as session:
        row = projects.get(session, project_id, scope=scope())
        said = _lately(session, project_id)
    holder = standing.Holder(Scope.PROJECT, str(project_id), row.limits)
    [standings] = standing.of_each(services().access_redis, [holder], now())
    said |= {"project": shown(row)[0], "standings": standings, "state": state_of(row)}
    return render_template("projects/page.html", **said, feature_label=feature_label)


def _lately(session: Session, project_id: UUID) -> dict[str, Any]:
    moment = now()
    days = project_figures.days(session, moment, project_id)
    newest = tokens.list_page(session, _NEWEST, None, now=moment, project_id=project_id)
    requests = recent_requests.list_page(session, _NEWEST, None, project_id=project_id)
    return {
        "charts": project_charts.of_days(moment, days),
        "total": project_figures.total(days.values()),
        "month": project_figures.month_of(moment),
        "tokens": [(row, tokens.state_of(row, moment)) for row in newest.items],
        "requests": requests.items,
        "names": names.of(session, tokens={row.token_id for row in requests.items}),
        "events": audit_search.list_page(session, _NEWEST, None, project_id=project_id).items,
    }
