"""Projects made and changed by forms."""

from typing import Any
from uuid import UUID

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue

from manager import db, limits, projects
from manager.actions import projects as actions
from manager.api.project_shapes import NewProject, ProjectChanges
from manager.current import scope, services
from manager.etags import Expected
from manager.principals import Role
from manager.tables import Project
from manager.ui.blueprint import blueprint, needs
from manager.ui.edits import Known, edited
from manager.ui.forms import Form, handled
from manager.ui.once import once
from manager.ui.project_fields import FIRST_KEY, NAME, SETTINGS, askable, folds, provider
from manager.ui.told import told

_USUAL = "openai"


@blueprint.route("/projects/new", methods=["GET", "POST"])
@needs(Role.OPERATOR, everything=True)
def new_project() -> ResponseReturnValue:
    """Ask for a project and its first key, and make it."""
    known = services().rules.table.providers
    fields = askable([NAME, provider(), FIRST_KEY, *SETTINGS[1:]])
    form = Form(NewProject(), fields, values={"provider": _USUAL if _USUAL in known else next(iter(known), "")})
    return handled(form, "projects/new.html", _create, folds=folds(fields))


@blueprint.route("/projects/<uuid:project_id>/edit", methods=["GET", "POST"])
def edit_project(project_id: UUID) -> ResponseReturnValue:
    """Ask what is to be changed of a project, and change that."""
    row = there(project_id)
    fields = askable(SETTINGS)
    values = {**projects.facts(row), "limits": limits.shown(row.limits)}

    def change(body: Any, expected: Expected) -> ResponseReturnValue:
        if body:
            told("The project was changed.", lambda: actions.update(project_id, body, expected))
        else:
            flash("There was nothing to change.", "info")
        return to_project(project_id)

    form = Form(ProjectChanges(), fields, values=values)
    known = Known(actions.state(row), values)
    return edited(form, known, "projects/edit.html", change, row=row, folds=folds(fields))


def there(project_id: UUID) -> Project:
    """Return a project that can be changed. Raises NotFound, Conflict for one that was deleted."""
    with db.reading(services().sessions) as session:
        row = projects.get(session, project_id, scope=scope())
    projects.check_is_there(row)
    return row


def to_project(project_id: UUID | str, part: str = "") -> ResponseReturnValue:
    """Go to a project's page."""
    return redirect(url_for("ui.project", project_id=project_id, _anchor=part or None), 303)


def _create(body: Any) -> ResponseReturnValue:
    made = actions.create(body, once(lambda project: str(project.id), _created))
    return _created(str(made.id))


def _created(project_id: str) -> ResponseReturnValue:
    flash("The project was created. Applications need a token of it.", "success")
    return to_project(project_id)
