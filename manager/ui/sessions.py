"""Who is signed in here, from where: the visitor's own sessions, and their end."""

from uuid import UUID

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import db, ui_sessions
from manager.audit import Action
from manager.current import note, now, principal, services
from manager.errors import NotFound
from manager.principals import Role
from manager.ui.blueprint import blueprint, needs
from manager.ui.session import current


@blueprint.get("/sessions")
def sessions() -> str:
    """Show the visitor's sessions."""
    with db.reading(services().sessions) as session:
        rows = ui_sessions.of(session, principal(), now())
    return render_template("sessions.html", rows=rows, current=current())


@blueprint.post("/sessions/<uuid:session_id>/end")
@needs(Role.AUDITOR)
def end_one(session_id: UUID) -> ResponseReturnValue:
    """End another session of the visitor."""

    def end(session: Session) -> None:
        if not ui_sessions.end(session, principal(), session_id):
            raise NotFound("There is no such session.")
        note(session, Action.SESSION_END, subject_id=session_id)

    services().transact(end)
    flash("The session is over.", "success")
    return redirect(url_for("ui.sessions"), 303)


@blueprint.post("/sessions/end-others")
@needs(Role.AUDITOR)
def end_others() -> ResponseReturnValue:
    """End all sessions of the visitor but this one."""

    def end(session: Session) -> int:
        ended = ui_sessions.end_all(session, principal(), but=current().id)
        if ended:
            note(session, Action.SESSION_END, detail={"sessions": ended})
        return ended

    ended = services().transact(end)
    flash(f"{ended} other sessions are over." if ended != 1 else "The other session is over.", "success")
    return redirect(url_for("ui.sessions"), 303)
