"""A token changed, given another secret, revoked."""

from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, limits, tokens
from manager.actions import tokens as actions
from manager.current import now, scope, services
from manager.errors import Conflict, Stale
from manager.etags import Expected
from manager.tables import Token
from manager.tokens import State
from manager.ui import token_secrets
from manager.ui.blueprint import blueprint
from manager.ui.edits import CHANGED, Known, edited, expected
from manager.ui.forms import Form, handled
from manager.ui.once import once
from manager.ui.shown import utc
from manager.ui.token_fields import FOLDS, RefreshForm, TokenChangesForm, change_fields, refresh_fields
from manager.ui.told import told

_USUAL_GRACE = "PT1H"


@blueprint.route("/tokens/<uuid:token_id>/edit", methods=["GET", "POST"])
def edit_token(token_id: UUID) -> ResponseReturnValue:
    """Ask what is to be changed of a token, and change that."""
    row = _unrevoked(token_id)
    values = {**tokens.facts(row), "limits": limits.shown(row.limits)}
    # Its end is said in the words of the form, and stays as it is unless something else is asked for.
    del values["expires_at"]

    def change(body: Any, expected: Expected) -> ResponseReturnValue:
        if body:
            told("The token was changed.", lambda: actions.update(token_id, body, expected))
        else:
            flash("There was nothing to change.", "info")
        return _to_token(token_id)

    form = Form(TokenChangesForm(), change_fields(utc(row.expires_at)), values=values)
    return edited(form, Known(actions.state(row), values), "tokens/edit.html", change, row=row, folds=FOLDS)


@blueprint.route("/tokens/<uuid:token_id>/refresh", methods=["GET", "POST"])
def refresh_token(token_id: UUID) -> ResponseReturnValue:
    """Ask how long the old secret works on; the answer to the form shows the new one, this once."""
    row = _unrevoked(token_id) if request.method == "GET" else _get(token_id)

    def page(shown: Any) -> ResponseReturnValue:
        return token_secrets.page(shown, is_refreshed=True)

    def refresh(body: Any) -> ResponseReturnValue:
        run = once(token_secrets.kept_one, page, check=actions.check_live)
        try:
            return page(token_secrets.kept_one(actions.refresh(token_id, body, expected(), run)))
        except Stale:
            raise Conflict(f"{CHANGED} Below is what it is now.") from None

    is_over = tokens.state_of(row, now()) is State.EXPIRED
    fields = refresh_fields(utc(row.expires_at), is_over=is_over)
    form = Form(RefreshForm(), fields, values={"grace": _USUAL_GRACE, "life": "P1D" if is_over else ""})
    return handled(form, "tokens/refresh.html", refresh, row=row, state=actions.state(row))


@blueprint.route("/tokens/<uuid:token_id>/revoke", methods=["GET", "POST"])
def revoke_token(token_id: UUID) -> ResponseReturnValue:
    """Revoke a token for good."""
    row = _get(token_id)
    if row.revoked_at is not None:
        flash("The token was revoked already.", "info")
        return _to_token(token_id)
    problem = ""
    if request.method == "POST":
        try:
            told("The token is revoked.", lambda: actions.revoke(token_id, expected()))
        except Stale:
            problem = f"{CHANGED} This is what it is now."
        else:
            return _to_token(token_id)
    said = {"row": row, "state": actions.state(row), "problem": problem}
    return render_template("tokens/revoke.html", **said), 412 if problem else 200


def _get(token_id: UUID) -> Token:
    with db.reading(services().sessions) as session:
        return tokens.get(session, token_id, scope=scope())


def _unrevoked(token_id: UUID) -> Token:
    row = _get(token_id)
    if row.revoked_at is not None:
        raise Conflict("The token has been revoked; that is for good. Make a new one.")
    return row


def _to_token(token_id: UUID) -> ResponseReturnValue:
    return redirect(url_for("ui.token", token_id=token_id), 303)
