"""Projects switched on and off, deleted, purged, and all tokens of one revoked: after telling what will break."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, project_figures, projects
from manager.actions import projects as actions
from manager.current import now, scope, services
from manager.errors import Conflict, Stale
from manager.principals import Role
from manager.tables import Project
from manager.ui.blueprint import blueprint, needs
from manager.ui.edits import CHANGED, expected
from manager.ui.forms import confirmed
from manager.ui.project_forms import to_project
from manager.ui.told import told


@blueprint.post("/projects/<uuid:project_id>/activate")
def activate_project(project_id: UUID) -> ResponseReturnValue:
    """Switch a project on."""
    try:
        told("The project is active.", lambda: actions.update(project_id, {"is_active": True}))
    except Conflict as error:
        flash(str(error), "danger")
    return to_project(project_id)


@blueprint.route("/projects/<uuid:project_id>/deactivate", methods=["GET", "POST"])
def deactivate_project(project_id: UUID) -> ResponseReturnValue:
    """Switch a project off."""

    def act() -> None:
        actions.update(project_id, {"is_active": False}, expected())

    return _asked(project_id, "projects/deactivate.html", "The project is not active any more.", act, is_typed=False)


@blueprint.route("/projects/<uuid:project_id>/delete", methods=["GET", "POST"])
def delete_project(project_id: UUID) -> ResponseReturnValue:
    """Switch a project off for good."""

    def act() -> None:
        actions.delete(project_id, expected())

    return _asked(project_id, "projects/delete.html", "The project was deleted.", act)


@blueprint.route("/projects/<uuid:project_id>/revoke-tokens", methods=["GET", "POST"])
def revoke_project_tokens(project_id: UUID) -> ResponseReturnValue:
    """Revoke all tokens of a project."""

    def act() -> None:
        actions.revoke_tokens(project_id)

    return _asked(project_id, "projects/revoke_tokens.html", "All tokens of the project are revoked.", act)


@blueprint.route("/projects/<uuid:project_id>/purge", methods=["GET", "POST"])
@needs(Role.ADMIN)
def purge_project(project_id: UUID) -> ResponseReturnValue:
    """Remove all that there is of a deleted project."""
    row = _get(project_id)

    def act() -> None:
        actions.purge(project_id, expected())

    def gone() -> ResponseReturnValue:
        return redirect(url_for("ui.projects"), 303)

    return _asked(project_id, "projects/purge.html", f"Nothing is left of {row.name}.", act, gone, is_deleted=True)


def _get(project_id: UUID) -> Project:
    with db.reading(services().sessions) as session:
        return projects.get(session, project_id, scope=scope())


def _asked(
    project_id: UUID,
    template: str,
    text: str,
    act: Callable[[], None],
    then: Callable[[], ResponseReturnValue] | None = None,
    *,
    is_typed: bool = True,
    is_deleted: bool = False,
) -> ResponseReturnValue:
    """Tell what will break; act when that was confirmed, by typing the name of the project if it has to be typed."""
    with db.reading(services().sessions) as session:
        row = projects.get(session, project_id, scope=scope())
        stakes = project_figures.stakes(session, now(), project_id)
    if not is_deleted:
        projects.check_is_there(row)
    elif row.deleted_at is None:
        raise Conflict("The project was not deleted; delete it first.")
    said: dict[str, Any] = {"row": row, "stakes": stakes, "state": actions.state(row), "error": "", "problem": ""}
    if request.method == "GET":
        return render_template(template, **said)
    said["error"] = confirmed(row.name) if is_typed else ""
    if said["error"]:
        return render_template(template, **said), 422
    try:
        told(text, act)
    except Stale:
        said["problem"] = f"{CHANGED} This is what it is now."
        return render_template(template, **said), 412
    return then() if then else to_project(project_id)
