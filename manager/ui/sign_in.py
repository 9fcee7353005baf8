"""Signing in with a token, as it is sent to the API, and out again."""

from flask import Response, flash, g, make_response, redirect, render_template, request, url_for
from flask import session as page
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import ui_sessions
from manager.api import access
from manager.audit import Action
from manager.authentication import IssuerAway, Refused
from manager.current import note, now, principal, services
from manager.entrance import MustWait
from manager.principals import Principal, Role
from manager.ui import cookies
from manager.ui.blueprint import blueprint, counted, for_everybody, needs
from manager.ui.session import current, local, recognise, rules

_LONGEST_TOKEN = 8192


@blueprint.get("/sign-in")
@for_everybody
def sign_in() -> ResponseReturnValue:
    """Ask for a token."""
    if recognise() is not None:
        return redirect(local(request.args.get("next", "")), 303)
    return render_template("sign_in.html", error="", next=local(request.args.get("next", "")))


@blueprint.post("/sign-in")
@for_everybody
@counted
def begin_session() -> ResponseReturnValue:
    """Let in who has a token."""
    token = request.form.get("token", "").strip()[:_LONGEST_TOKEN]
    if not token:
        return _refused("Enter your token.", 422)
    try:
        who = access.entrance().admit(access.visit(), token)
    except MustWait as reason:
        g.retry_after = reason.seconds
        return _refused(f"Too many wrong tokens came from your address. Try again in {reason.seconds} seconds.", 429)
    except IssuerAway as reason:
        g.retry_after = 10
        return _refused(str(reason), 503)
    except Refused as reason:
        return _refused(str(reason), 401)
    if who.id is None and who.name != ui_sessions.MANAGEMENT:
        return _refused("Tokens of people are for the API. Ask an admin for an operator token.", 403)
    g.principal = who
    return _let_in(who, token)


@blueprint.post("/sign-out")
@needs(Role.AUDITOR)
def sign_out() -> ResponseReturnValue:
    """End the session."""

    def end(session: Session) -> None:
        if ui_sessions.end(session, principal(), current().id):
            note(session, Action.SESSION_END, subject_id=current().id)

    services().transact(end)
    page.clear()
    flash("You are signed out.", "success")
    response = make_response(redirect(url_for("ui.sign_in"), 303))
    cookies.forget_secret(response)
    return response


def _let_in(who: Principal, token: str) -> Response:
    is_remembered = request.form.get("remember") == "on"

    def begin(session: Session) -> str:
        row, secret = ui_sessions.begin(
            session, rules(), now(), who, token, is_remembered=is_remembered, address=request.remote_addr
        )
        note(session, Action.SESSION_BEGIN, subject_id=row.id, detail={"remembered": is_remembered})
        return secret

    secret = services().transact(begin)
    # Whatever the browser brought along, it leaves with something new.
    page.clear()
    response = make_response(redirect(local(request.form.get("next", "")), 303))
    cookies.keep_secret(response, secret, int(rules().remembered.total_seconds()) if is_remembered else None)
    return response


def _refused(error: str, status: int) -> ResponseReturnValue:
    return render_template("sign_in.html", error=error, next=local(request.form.get("next", ""))), status
