"""The provider's keys of a project: added, changed, rotated, tried, removed. What they open never comes back."""

from typing import Any
from uuid import UUID

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue

from manager import keys
from manager.actions import keys as actions
from manager.api.keys import KeyChanges, NewKey, Rotated
from manager.errors import Conflict, Invalid, Stale
from manager.etags import Expected
from manager.tables import Project, UpstreamKey
from manager.ui.blueprint import blueprint
from manager.ui.edits import CHANGED, Known, edited, expected
from manager.ui.forms import Blank, Field, Form, Kind, handled
from manager.ui.once import once
from manager.ui.project_forms import there, to_project
from manager.ui.told import told

_KEY = Field("api_key", "Key", "The provider's key. It is sealed, and never shown again.", Kind.PASSWORD, required=True)
_LABEL = Field("label", "Label", "What you call it, such as the account that it belongs to.", blank=Blank.EMPTY)
_SHARE = "Its share of the requests: a key of weight 3 gets three times as many as one of weight 1."
_WEIGHT = Field("weight", "Weight", _SHARE, Kind.NUMBER, blank=Blank.EMPTY, required=True)
_ACTIVE = Field("is_active", "Requests go out with it", kind=Kind.CHECKBOX)
_ONE = "/projects/<uuid:project_id>/keys/<uuid:key_id>"


@blueprint.route("/projects/<uuid:project_id>/keys/new", methods=["GET", "POST"])
def new_key(project_id: UUID) -> ResponseReturnValue:
    """Ask for another key, and add it."""

    def added(_: Any) -> ResponseReturnValue:
        flash("The key was added.", "success")
        return to_project(project_id, "keys")

    def add(body: Any) -> ResponseReturnValue:
        return added(actions.add(project_id, body, once(lambda key: str(key.id), added)))

    form = Form(NewKey(), (_KEY, _LABEL, _WEIGHT), values={"weight": keys.WEIGHTS[0]})
    return handled(form, "projects/key_new.html", add, row=there(project_id))


@blueprint.route(f"{_ONE}/edit", methods=["GET", "POST"])
def edit_key(project_id: UUID, key_id: UUID) -> ResponseReturnValue:
    """Ask for label, weight and state, and change them."""
    row, key = _get(project_id, key_id)

    def change(body: Any, known: Expected) -> ResponseReturnValue:
        if body:
            told("The key was changed.", lambda: actions.update(project_id, key_id, body, known))
        else:
            flash("There was nothing to change.", "info")
        return to_project(project_id, "keys")

    form = Form(KeyChanges(), (_LABEL, _WEIGHT, _ACTIVE), values=keys.facts(key))
    return edited(form, Known(keys.state(key), form.values), "projects/key_edit.html", change, row=row, key=key)


@blueprint.route(f"{_ONE}/rotate", methods=["GET", "POST"])
def rotate_key(project_id: UUID, key_id: UUID) -> ResponseReturnValue:
    """Ask for what the key opens from now on."""
    row, key = _get(project_id, key_id)

    def change(body: Any, known: Expected) -> ResponseReturnValue:
        if not body:
            raise Invalid("api_key", "Please fill this in.")
        told("The key was rotated: requests go out with the new one.", lambda: _rotate(body, known))
        return to_project(project_id, "keys")

    def _rotate(body: Any, known: Expected) -> None:
        actions.update(project_id, key_id, body, known)

    form = Form(Rotated(), (_KEY,))
    return edited(form, Known(keys.state(key), {}), "projects/key_rotate.html", change, row=row, key=key)


@blueprint.post(f"{_ONE}/test")
def test_key(project_id: UUID, key_id: UUID) -> str:
    """Ask the provider whether it takes the key, and tell what it said."""
    row, key = _get(project_id, key_id)
    return render_template("projects/key_tested.html", row=row, key=key, result=actions.test(project_id, key_id))


@blueprint.route(f"{_ONE}/delete", methods=["GET", "POST"])
def delete_key(project_id: UUID, key_id: UUID) -> ResponseReturnValue:
    """Remove a key, but not the last active one of an active project."""
    row, key = _get(project_id, key_id)
    said: dict[str, Any] = {"row": row, "key": key, "state": keys.state(key), "why_not": _why_not(row, key)}
    if request.method == "GET":
        return render_template("projects/key_delete.html", **said, problem="")
    try:
        told("The key was deleted.", lambda: actions.delete(project_id, key_id, expected()))
    except Stale:
        return render_template("projects/key_delete.html", **said, problem=f"{CHANGED} This is what it is now."), 412
    except Conflict as error:
        return render_template("projects/key_delete.html", **(said | {"why_not": str(error)}), problem=""), 409
    return to_project(project_id, "keys")


def _get(project_id: UUID, key_id: UUID) -> tuple[Project, UpstreamKey]:
    row = there(project_id)
    return row, keys.get(row, key_id)


def _why_not(row: Project, key: UpstreamKey) -> str:
    try:
        keys.check_is_spared(row, key)
    except Conflict as error:
        return str(error)
    return ""
