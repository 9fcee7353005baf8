"""The door of the UI: who is signed in is known by the cookie; anybody else is sent to the sign-in page."""

import re
from typing import cast

from flask import current_app, flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException, Unauthorized
from werkzeug.routing import RequestRedirect

from manager import db, ui_sessions
from manager.current import now, services
from manager.ui import cookies
from manager.ui_sessions import Found, Rules
from shared import logs

# A path of ours with its query; neither another host, nor a way up and out, nor the sign-in page itself.
_LOCAL = re.compile(r"/ui/(?!sign-)[A-Za-z0-9_.~/-]*(\?[A-Za-z0-9_.~!$&'()*+,;=:@/?%-]*)?\Z")
_LONGEST = 1000
log = logs.get("ui")


def enter() -> ResponseReturnValue | None:
    """Find out who is signed in, or answer with the way to the sign-in page."""
    found = recognise()
    if found is None:
        return _to_sign_in()
    g.ui_session, g.principal = found, found.principal
    if found.is_stamp_due and not _is_by_itself():
        _stamp(found)
    return None


def _is_by_itself() -> bool:
    """Tell whether a page has asked, as it does while it is open, and not somebody who is there."""
    return request.endpoint == "ui.events" or "x-refresh" in request.headers


def recognise() -> Found | None:
    """Return the session that the cookie opens, None if there is none that goes on."""
    secret = cookies.secret()
    if not secret:
        return None
    with db.reading(services().sessions) as session:
        return ui_sessions.find(session, rules(), secret, now())


def current() -> Found:
    """Return the session of the current request."""
    return cast(Found, g.ui_session)


def rules() -> Rules:
    """Return how long sessions last, and by which secrets they are known."""
    return Rules.of(services().settings)


def local(path: str) -> str:
    """Return a path of ours to go on to; home for anything else.

    >>> local("/ui/../manage"), local("https://example.org"), local("//example.org")
    ('/ui/', '/ui/', '/ui/')
    """
    is_ours = len(path) <= _LONGEST and _LOCAL.match(path) is not None
    return path if is_ours and not re.search(r"//|/\.", path.partition("?")[0]) else "/ui/"


def _stamp(found: Found) -> None:
    def work(session: Session) -> None:
        ui_sessions.stamp(session, rules(), now(), found)

    try:
        db.transact(services().sessions, work)
    except SQLAlchemyError as error:  # Not worth showing somebody an error.
        log.warning("use_not_stamped", reason=db.reason(error))


def _to_sign_in() -> ResponseReturnValue:
    if not _is_for_a_page():
        raise Unauthorized("You are not signed in any more.")
    if cookies.secret():
        flash("Your session has ended. Please sign in again.", "warning")
    wanted = local(_wanted())
    response = redirect(url_for("ui.sign_in", next=None if wanted == "/ui/" else wanted), 303)
    cookies.forget_secret(response)  # type: ignore[arg-type]
    return response


def _is_for_a_page() -> bool:
    """Tell whether somebody looks at what is answered, and not a script."""
    mode = request.headers.get("sec-fetch-mode")
    return mode == "navigate" if mode else request.accept_mimetypes.accept_html


def _wanted() -> str:
    """Return what to show after signing in: what was asked for, or the page of the form that was sent."""
    if request.method in ("GET", "HEAD"):
        return request.full_path.rstrip("?")
    try:
        current_app.create_url_adapter(request).match(method="GET")  # type: ignore[union-attr]
    except (HTTPException, RequestRedirect):
        return ""
    return request.path
