"""Many tokens revoked at once: those that were ticked, or all that fit filters; after telling which they are."""

from typing import Any

import marshmallow as ma
from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, names, revocable
from manager.actions import tokens as actions
from manager.current import now, scope, services
from manager.errors import Conflict, Invalid
from manager.ui.blueprint import blueprint
from manager.ui.forms import confirmed
from manager.ui.shown import number, with_query
from manager.ui.token_fields import WhichTokens
from manager.ui.told import told

# What comes with a form, and does not say which.
_BESIDE = ("confirmed", "csrf_token", "seen", "typed")
# So many projects are named.
_NAMED = 20
_CHANGED = "What fits has changed: other tokens fit by now than were shown before. Look again."


@blueprint.route("/tokens/revoke", methods=["GET", "POST"])
def revoke_tokens() -> ResponseReturnValue:
    """Tell which tokens would be revoked, and revoke them when that was confirmed."""
    try:
        wanted = _which()
        return _ticked(wanted["ids"]) if "ids" in wanted else _fitting(wanted)
    except (ma.ValidationError, Invalid):
        flash("Tick the tokens that are to be revoked, or filter for them.", "warning")
        filters = {name: value for name, value in request.args.items() if name in WhichTokens().fields}
        return redirect(with_query(url_for("ui.tokens"), {**filters, "ids": None, "all": None}), 303)


def _which() -> dict[str, Any]:
    """Return ids or filters. Raises ValidationError."""
    sent = request.values
    body: dict[str, Any] = {name: value for name, value in sent.items() if value.strip() and name not in _BESIDE}
    if "ids" in body:
        body["ids"] = list(dict.fromkeys(sent.getlist("ids")))
    found: dict[str, Any] = WhichTokens().load(body, unknown=ma.RAISE)
    if "all" in found:
        raise ma.ValidationError("Say which.")
    return found


def _ticked(ids: Any) -> ResponseReturnValue:
    with db.reading(services().sessions) as session:
        rows = revocable.these(session, ids, scope())
        known = names.of(session, projects={row.project_id for row in rows})
    if not rows:
        return _done("Nothing was left to revoke.", "info")
    if request.form.get("confirmed"):
        told(f"{_tokens(len(rows))} revoked.", lambda: actions.revoke_these([row.id for row in rows]))
        return _done()
    return render_template("tokens/revoke_ticked.html", rows=rows, names=known.projects, what=_tokens(len(rows)))


def _fitting(wanted: dict[str, Any]) -> ResponseReturnValue:
    with db.reading(services().sessions) as session:
        found = revocable.fitting(session, now(), scope(), **wanted)
        counts = revocable.by_project(found)
        known = names.of(session, projects=list(counts)[:_NAMED])
    if not found:
        return _done("Nothing was left to revoke.", "info")
    phrase, seen, problem, status = f"revoke {number(len(found))}", revocable.digest(found), "", 200
    if request.method == "POST":
        if request.form.get("seen") != seen:
            problem, status = _CHANGED, 409
        elif confirmed(phrase):
            problem, status = f"To revoke them, type {phrase}.", 422
        elif _revoke(wanted, seen, len(found)):
            return _done()
        else:  # Just now; what fits by now is shown.
            return _fitting(wanted)
    filters = {name: value for name, value in request.values.items() if value.strip() and name not in _BESIDE}
    said = {"projects": counts, "names": known.projects, "named": list(known.projects), "what": _tokens(len(found))}
    said |= {"phrase": phrase, "problem": problem, "filters": filters, "seen": seen}
    return render_template("tokens/revoke_fitting.html", **said), status


def _revoke(wanted: dict[str, Any], seen: str, count: int) -> bool:
    """Revoke all that fit, if they are still those that were seen. Tell whether they were."""

    def check(found: actions.Revoked) -> None:
        if revocable.digest(found) != seen:
            raise Conflict(_CHANGED)

    try:
        told(f"{_tokens(count)} revoked.", lambda: actions.revoke_matching(wanted, check))
    except Conflict:
        return False
    return True


def _tokens(count: int) -> str:
    return f"{number(count)} {'token' if count == 1 else 'tokens'}"


def _done(text: str = "", kind: str = "success") -> ResponseReturnValue:
    if text:
        flash(text, kind)
    return redirect(url_for("ui.tokens"), 303)
