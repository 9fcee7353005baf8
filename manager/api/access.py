"""Who may: a bearer token for everything under /manage, asked for before anything else is looked at, and a role."""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import cast

from flask import Flask, Response, abort, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests, Unauthorized, UnsupportedMediaType

from manager.authentication import IssuerAway, Refused
from manager.current import now, principal, scope, source
from manager.denials import Denials
from manager.entrance import Entrance, MustWait, Visit
from manager.errors import Forbidden, NotFound
from manager.principals import EVERYTHING, Role

# What may be seen without a token: shapes, and nothing that is in them. A view may say so by `is_open`, too.
OPEN = {"api-docs.openapi_json"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_LONGEST_PATH = 200
_ENTRANCE = "llm_proxy_entrance"

# Finds out who sends a request, and may answer in the place of the view.
type Door = Callable[[], ResponseReturnValue | None]


def guard(app: Flask, entrance: Entrance, denials: Denials, doors: Mapping[str, Door]) -> None:
    """Find out who sends each request, and mark each answer. `doors` say how below other paths than /manage."""
    app.extensions[_ENTRANCE] = entrance
    guarded = {"/manage": _take_bearer, **doors}

    def check() -> ResponseReturnValue | None:
        given = request.headers.get("x-request-id", "")
        g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        enter = next((door for path, door in guarded.items() if is_below(path)), None)
        return None if enter is None or is_open(app, request.endpoint) else enter()

    def mark(response: Response) -> Response:
        if response.status_code in (403, 404) and "principal" in g:
            _note_denial(denials, response)
        entrance.flush_own(now())
        denials.flush_own(now())
        if response.status_code in (429, 503) and "retry_after" in g:
            response.headers["retry-after"] = str(g.retry_after)
        response.headers["x-request-id"] = g.request_id
        response.headers.setdefault("cache-control", "no-store")
        response.headers["x-content-type-options"] = "nosniff"
        return response

    app.before_request(check)
    app.after_request(mark)


def is_below(path: str) -> bool:
    """Tell whether the current request is for a path, or for something below it."""
    return request.path == path or request.path.startswith(f"{path}/")


def entrance() -> Entrance:
    """Return what lets in who shows a token."""
    return cast(Entrance, current_app.extensions[_ENTRANCE])


def visit() -> Visit:
    """Return when, from where and with which request somebody comes."""
    return Visit(now(), request.remote_addr, g.request_id)


def demand_roles(app: Flask) -> None:
    """Check what each request may; to be called when `guard` has been."""

    def check() -> None:
        if "principal" in g:
            _demand_role(app)
            if is_below("/manage"):
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


def _take_bearer() -> None:
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    try:
        g.principal = entrance().admit(visit(), bearer, is_attempt=bool(sent))
    except MustWait as reason:
        g.retry_after = reason.seconds
        raise TooManyRequests(str(reason)) from None
    except IssuerAway as reason:
        g.retry_after = 10
        raise ServiceUnavailable(str(reason)) from None
    except Refused as reason:
        raise Unauthorized(str(reason)) from None


def _demand_role(app: Flask) -> None:
    if request.endpoint is None:
        return  # There is nothing; the router says so.
    needed = needed_role(app, request.endpoint, request.method)
    if needed is None or not principal().role.covers(needed):
        raise Forbidden(f"This needs the role {needed}." if needed else "Nobody may do this.")


def _note_denial(denials: Denials, response: Response) -> None:
    # Of a page, what it was made of is kept there.
    problem = g.get("problem") or response.get_json(silent=True)
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
