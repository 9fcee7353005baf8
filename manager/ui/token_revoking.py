"""Many tokens revoked at once: those that were ticked, or all that fit filters; after telling which they are."""

from typing import Any

import marshmallow as ma
from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, names, revocable
from manager.actions import tokens as actions
from manager.current import now, scope, services
from manager.errors import Invalid
from manager.ui.blueprint import blueprint
from manager.ui.forms import confirmed
from manager.ui.shown import number, with_query
from manager.ui.token_fields import WhichTokens
from manager.ui.told import told

# What comes with a form, and does not say which.
_BESIDE = ("confirmed", "csrf_token", "seen", "typed")
# So many projects are named.
_NAMED = 20


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
        counts = revocable.by_project(session, now(), scope(), **wanted)
        known = names.of(session, projects=list(counts)[:_NAMED])
    count = sum(counts.values())
    if not count:
        return _done("Nothing was left to revoke.", "info")
    phrase, problem = f"revoke {number(count)}", ""
    if request.method == "POST":
        if request.form.get("seen") != str(count):
            problem = "Other tokens fit by now than were shown before."
        elif confirmed(phrase):
            problem = f"To revoke them, type {phrase}."
        else:
            told(f"{_tokens(count)} revoked.", lambda: actions.revoke_matching(wanted))
            return _done()
    said = {"count": count, "projects": counts, "names": known.projects, "phrase": phrase, "problem": problem}
    filters = {name: value for name, value in request.values.items() if value.strip() and name not in _BESIDE}
    said |= {"filters": filters, "what": _tokens(count), "named": list(known.projects)}
    return render_template("tokens/revoke_fitting.html", **said), 422 if problem else 200


def _tokens(count: int) -> str:
    return f"{number(count)} {'token' if count == 1 else 'tokens'}"


def _done(text: str = "", kind: str = "success") -> ResponseReturnValue:
    if text:
        flash(text, kind)
    return redirect(url_for("ui.tokens"), 303)
