"""Operators made, changed, given another token, revoked. A token is shown once: in the answer to the form."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, operators
from manager.actions import operators as actions
from manager.actions.operators import WithToken
from manager.api.operators import OperatorWithTokenView
from manager.current import services
from manager.errors import Conflict, Stale
from manager.etags import Expected
from manager.principals import Role
from manager.tables import Operator
from manager.ui import addresses
from manager.ui.blueprint import blueprint, needs
from manager.ui.edits import CHANGED, Known, edited, expected
from manager.ui.forms import Form, handled
from manager.ui.once import once
from manager.ui.operator_fields import (
    FOR_GOOD,
    ROLES,
    NewOperatorForm,
    OperatorChangesForm,
    change_fields,
    new_fields,
)
from manager.ui.operators import shown
from manager.ui.shown import utc


@blueprint.route("/operators/new", methods=["GET", "POST"])
@needs(Role.ADMIN)
def new_operator() -> ResponseReturnValue:
    """Ask who it is and what it may do; the answer to the form shows its token, this once."""

    def create(body: Any) -> ResponseReturnValue:
        return _page(_kept(actions.create(body, once(_kept, _page, check=actions.check_live))))

    form = Form(NewOperatorForm(), new_fields(), values={"role": Role.OPERATOR.value, "life": FOR_GOOD})
    return handled(form, "operators/new.html", create)


@blueprint.route("/operators/<uuid:operator_id>/edit", methods=["GET", "POST"])
@needs(Role.ADMIN)
def edit_operator(operator_id: UUID) -> ResponseReturnValue:
    """Ask what is to be changed of an operator, and change that."""
    row = _unrevoked(operator_id)
    with db.reading(services().sessions) as session:
        [known] = shown(session, [row])
    values = {"role": row.role, "project_ids": known.projects}

    def change(body: Any, expected: Expected) -> ResponseReturnValue:
        if body:
            actions.update(operator_id, body, expected)
            flash("The operator was changed.", "success")
        else:
            flash("There was nothing to change.", "info")
        return _to_operator(operator_id)

    until = "until it is revoked" if row.expires_at is None else f"until {utc(row.expires_at)}"
    form = Form(OperatorChangesForm(), change_fields(until), values=values)
    return edited(form, Known(actions.state(row), values), "operators/edit.html", change, row=row)


@blueprint.route("/operators/<uuid:operator_id>/rotate", methods=["GET", "POST"])
@needs(Role.ADMIN)
def rotate_operator(operator_id: UUID) -> ResponseReturnValue:
    """Give an operator another token; the answer to the form shows it, this once."""
    row = _unrevoked(operator_id) if request.method == "GET" else _get(operator_id)
    if request.method == "GET":
        return _asked(row, "operators/rotate.html")
    try:
        run = once(_kept, _rotated, check=actions.check_live)
        return _rotated(_kept(actions.rotate(operator_id, expected(), run)))
    except Stale:
        return _asked(row, "operators/rotate.html", f"{CHANGED} This is what it is now.")


@blueprint.route("/operators/<uuid:operator_id>/revoke", methods=["GET", "POST"])
@needs(Role.ADMIN)
def revoke_operator(operator_id: UUID) -> ResponseReturnValue:
    """Revoke an operator for good."""
    row = _get(operator_id)
    if row.revoked_at is not None:
        flash("The operator was revoked already.", "info")
        return _to_operator(operator_id)
    if request.method == "GET":
        return _asked(row, "operators/revoke.html")
    try:
        actions.revoke(operator_id, expected())
    except Stale:
        return _asked(row, "operators/revoke.html", f"{CHANGED} This is what it is now.")
    flash("The operator is revoked.", "success")
    return _to_operator(operator_id)


def _asked(row: Operator, template: str, problem: str = "") -> ResponseReturnValue:
    said = {"row": row, "state": actions.state(row), "problem": problem, "roles": ROLES}
    return render_template(template, **said), 412 if problem else 200


def _kept(made: WithToken) -> dict[str, Any]:
    """Return what an answer shows of an operator with its token, as JSON can hold it."""
    found: dict[str, Any] = OperatorWithTokenView().dump(made)
    return found


def _page(made: Mapping[str, Any], *, is_rotated: bool = False) -> ResponseReturnValue:
    manager_url = addresses.manager_url()
    return render_template("operators/secret.html", made=made, is_rotated=is_rotated, manager_url=manager_url)


def _rotated(made: Mapping[str, Any]) -> ResponseReturnValue:
    return _page(made, is_rotated=True)


def _get(operator_id: UUID) -> Operator:
    with db.reading(services().sessions) as session:
        return operators.get(session, operator_id)


def _unrevoked(operator_id: UUID) -> Operator:
    row = _get(operator_id)
    if row.revoked_at is not None:
        raise Conflict("The operator has been revoked; that is for good. Make a new one.")
    return row


def _to_operator(operator_id: UUID) -> ResponseReturnValue:
    return redirect(url_for("ui.operator", operator_id=operator_id), 303)
