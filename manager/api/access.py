"""Who may: a bearer token for everything under /manage, asked for before anything else is looked at, and a role."""

import re
import uuid
from datetime import UTC, datetime

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests, Unauthorized, UnsupportedMediaType

from manager.authentication import Authenticator, IssuerAway, Refused
from manager.current import now, principal, scope, source
from manager.denials import Denials
from manager.errors import Forbidden, NotFound
from manager.logins import Logins
from manager.principals import EVERYTHING, Role
from manager.throttle import Throttle

# What may be seen without a token: shapes, and nothing that is in them. A view may say so by `is_open`, too.
OPEN = {"api-docs.openapi_json"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_LONGEST_PATH = 200


def guard(app: Flask, authenticator: Authenticator, throttle: Throttle, logins: Logins, denials: Denials) -> None:
    """Find out who sends each request, and mark each answer."""

    def check() -> None:
        given = request.headers.get("x-request-id", "")
        g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        is_managed = request.path == "/manage" or request.path.startswith("/manage/")
        if is_managed and not is_open(app, request.endpoint):
            _authenticate(authenticator, throttle, logins)

    def mark(response: Response) -> Response:
        if response.status_code in (403, 404) and "principal" in g:
            _note_denial(denials, response)
        logins.flush_own(now())
        denials.flush_own(now())
        if response.status_code in (429, 503) and "retry_after" in g:
            response.headers["retry-after"] = str(g.retry_after)
        response.headers["x-request-id"] = g.request_id
        response.headers["cache-control"] = "no-store"
        response.headers["x-content-type-options"] = "nosniff"
        return response

    app.before_request(check)
    app.after_request(mark)


def demand_roles(app: Flask) -> None:
    """Check what each request may; to be called when `guard` has been."""

    def check() -> None:
        if "principal" in g:
            _demand_role(app)
            _check_media_type()

    app.before_request(check)


def is_open(app: Flask, endpoint: str | None) -> bool:
    """Tell whether an endpoint needs no token."""
    return endpoint in OPEN or bool(getattr(app.view_functions.get(endpoint or ""), "is_open", False))


def needed_role(app: Flask, endpoint: str, method: str) -> Role | None:
    """Return the role that an endpoint's view declares for a method; None if it declares none."""
    view = app.view_functions[endpoint]
    if method == "OPTIONS":  # Flask's own answer, which tells the methods and nothing else.
        return Role.AUDITOR
    by_class = getattr(view, "view_class", view)
    function = getattr(by_class, method.lower(), None) or (getattr(by_class, "get", None) if method == "HEAD" else None)
    found: Role | None = getattr(function or view, "needs_role", None)
    return found


def _authenticate(authenticator: Authenticator, throttle: Throttle, logins: Logins) -> None:
    address = request.remote_addr
    if seconds := throttle.wait(address):
        logins.failed(now(), address, g.request_id)
        g.retry_after = seconds
        raise TooManyRequests("Too many failed logins from this address; wait a while.")
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    try:
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused("Send Authorization: Bearer with your token.")
        g.principal = authenticator.identify(token.strip(), datetime.now(UTC))
    except IssuerAway as reason:
        g.retry_after = 10
        raise ServiceUnavailable(str(reason)) from None
    except Refused as reason:
        if sent:
            throttle.fail(address)
        logins.failed(now(), address, g.request_id)
        raise Unauthorized(str(reason)) from None
    logins.succeeded(now(), source(), principal().role)


def _demand_role(app: Flask) -> None:
    if request.endpoint is None:
        return  # There is nothing; the router says so.
    needed = needed_role(app, request.endpoint, request.method)
    if needed is None or not principal().role.covers(needed):
        raise Forbidden(f"This needs the role {needed}." if needed else "Nobody may do this.")


def _note_denial(denials: Denials, response: Response) -> None:
    problem = response.get_json(silent=True)
    if not isinstance(problem, dict):
        return
    code = problem.get("code")
    # Who may see some projects only, and is not shown something, may have asked for another one's.
    is_hidden = code == NotFound.code and request.endpoint is not None and scope() != EVERYTHING
    if code == Forbidden.code or is_hidden:
        path = request.path[:_LONGEST_PATH].encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
        detail = {"method": request.method, "path": path, "role": principal().role, "reason": problem["detail"]}
        denials.denied(now(), source(), detail)


def _check_media_type() -> None:
    has_body = request.content_length or request.headers.get("transfer-encoding")
    if has_body and request.method in ("POST", "PUT", "PATCH") and not request.is_json:
        raise UnsupportedMediaType("Send a JSON body with content-type application/json.")
    if request.args and len(request.args) > 50:
        abort(400)
