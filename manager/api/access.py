"""Who may: one bearer token for everything under /manage, asked for before anything else is looked at."""

import hashlib
import hmac
import re
import uuid

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import Forbidden, Unauthorized, UnsupportedMediaType

from manager import audit
from manager.api.services import principal
from manager.principals import Principal, Role

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def guard(app: Flask, management_token: str) -> None:
    """Check each request before it is routed, and mark each answer."""
    expected = _fingerprint(management_token)

    def check() -> None:
        given = request.headers.get("x-request-id", "")
        g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        if request.path == "/manage" or request.path.startswith("/manage/"):
            _authenticate(expected)
            g.principal = Principal(audit.MANAGEMENT, Role.ADMIN)
            _check_media_type()

    def mark(response: Response) -> Response:
        response.headers["x-request-id"] = g.request_id
        response.headers["cache-control"] = "no-store"
        response.headers["x-content-type-options"] = "nosniff"
        return response

    app.before_request(check)
    app.after_request(mark)


def demand_everything() -> None:
    """Refuse a principal that may see some projects only: this is about all of them."""
    if principal().scope.project_ids is not None:
        raise Forbidden("This is about all projects, and you may see some only.")


def _authenticate(expected: bytes) -> None:
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    # Digests have one length, so that comparing them takes the same time whatever was sent.
    if not hmac.compare_digest(_fingerprint(token.strip()), expected) or scheme.lower() != "bearer":
        raise Unauthorized("Send Authorization: Bearer with the management token.")


def _check_media_type() -> None:
    has_body = request.content_length or request.headers.get("transfer-encoding")
    if has_body and request.method in ("POST", "PUT", "PATCH") and not request.is_json:
        raise UnsupportedMediaType("Send a JSON body with content-type application/json.")
    if request.args and len(request.args) > 50:
        abort(400)


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
