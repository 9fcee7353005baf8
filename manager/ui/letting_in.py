"""What all ways to sign in have in common: the page that asks, and the session that begins."""

from dataclasses import dataclass

from flask import Flask, Response, g, make_response, redirect, render_template, request, url_for
from flask import session as page
from sqlalchemy.orm import Session

from manager import ui_sessions
from manager.audit import Action
from manager.current import note, now, services
from manager.principals import Principal
from manager.ui import cookies
from manager.ui.session import recognise, rules


@dataclass(frozen=True)
class WayIn:
    """Where people sign in who have no token, and what that is called."""

    name: str
    href: str


def teach(app: Flask) -> None:
    """Let the sign-in page show the way."""
    app.jinja_env.globals["way_in"] = way_in


def way_in(next: str) -> WayIn | None:
    """Return the way that leads to the issuer, and from there on to `next`; None if there is none."""
    known, settings = services().people, services().settings
    if known is None or known.flow is None:
        return None
    # What the browser keeps meanwhile has to be kept where the issuer sends it back to.
    return WayIn(settings.oidc_name, settings.manager_url + url_for("ui.go_to_issuer", next=next))


def ask(next: str, error: str = "", status: int = 200) -> Response:
    """Return the page that asks who it is, with what was wrong."""
    return make_response(render_template("sign_in.html", error=error, next=next), status)


def let_in(who: Principal, token: str | None, next: str, *, is_remembered: bool = False) -> Response:
    """Begin a session of somebody, by their token if it was one; see ui_sessions.begin.

    The one that the browser had is over with it: nobody could end it from there any more.
    """
    g.principal, before = who, recognise()

    def begin(session: Session) -> str:
        row, secret = ui_sessions.begin(
            session, rules(), now(), who, token, is_remembered=is_remembered, address=request.remote_addr
        )
        note(session, Action.SESSION_BEGIN, subject_id=row.id, detail={"remembered": row.is_remembered})
        if before is not None and ui_sessions.end(session, before.principal, before.id):
            note(session, Action.SESSION_END, subject_id=before.id)
        return secret

    secret = services().transact(begin)
    # Whatever the browser brought along, it leaves with something new.
    page.clear()
    response = make_response(redirect(next, 303))
    cookies.keep_secret(response, secret, int(rules().remembered.total_seconds()) if is_remembered else None)
    return response
