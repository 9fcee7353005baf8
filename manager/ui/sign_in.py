"""Signing in with a token, as it is sent to the API, and out again."""

from flask import flash, g, make_response, redirect, request, url_for
from flask import session as page
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import ui_sessions
from manager.api import access
from manager.audit import Action
from manager.authentication import IssuerAway, Refused
from manager.current import note, principal, services
from manager.entrance import MustWait
from manager.principals import Role
from manager.ui import cookies
from manager.ui.blueprint import blueprint, counted, for_everybody, needs
from manager.ui.letting_in import ask, let_in, way_in
from manager.ui.session import current, local, recognise

_LONGEST_TOKEN = 8192


@blueprint.get("/sign-in")
@for_everybody
def sign_in() -> ResponseReturnValue:
    """Ask for a token."""
    if recognise() is not None:
        return redirect(local(request.args.get("next", "")), 303)
    return ask(local(request.args.get("next", "")))


@blueprint.post("/sign-in")
@for_everybody
@counted
def begin_session() -> ResponseReturnValue:
    """Let in who has a token."""
    token, next = request.form.get("token", "").strip()[:_LONGEST_TOKEN], local(request.form.get("next", ""))
    if not token:
        return ask(next, "Enter your token.", 422)
    try:
        who = access.entrance().admit(access.visit(), token)
    except MustWait as reason:
        g.retry_after = reason.seconds
        return ask(next, f"Too many wrong tokens came from your address. Try again in {reason.seconds} seconds.", 429)
    except IssuerAway as reason:
        g.retry_after = 10
        return ask(next, str(reason), 503)
    except Refused as reason:
        return ask(next, str(reason), 401)
    if who.id is None and who.name != ui_sessions.MANAGEMENT:
        found = way_in(next)
        instead = f"Sign in with {found.name} instead." if found else "Ask an admin for an operator token."
        return ask(next, f"Tokens of people are for the API. {instead}", 403)
    return let_in(who, token, next, is_remembered=request.form.get("remember") == "on")


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
