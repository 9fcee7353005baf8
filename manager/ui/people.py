"""Signing in at an OpenID Connect issuer: the way there, and who comes back from it."""

import re
from typing import TYPE_CHECKING

from flask import Response, g, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from manager.api import access
from manager.authentication import IssuerAway, NoRole, Refused, Stopped
from manager.current import now, services
from manager.entrance import MustWait
from manager.errors import NotFound
from manager.oidc_attempts import SECONDS
from manager.ui import cookies
from manager.ui.blueprint import blueprint, counted, for_everybody
from manager.ui.letting_in import ask, let_in
from manager.ui.session import local, recognise
from shared import logs

if TYPE_CHECKING:
    from manager.oidc_flow import CodeFlow

# Whoever says so is on this machine, and so is whoever is sent there.
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?\Z")
log = logs.get("ui")


@blueprint.get("/sign-in/oidc")
@for_everybody
@counted
def go_to_issuer() -> ResponseReturnValue:
    """Lead to the issuer's page."""
    flow, next, address = _flow(), local(request.args.get("next", "")), _address()
    if recognise() is not None:
        return _redirect(next)
    if address is None:
        log.error("manager_url_missing", host=request.host)
        return ask(next, "This installation does not know its address: LLM_PROXY_MANAGER_URL has to be set.", 503)
    try:
        there, kept = flow.begin(address + url_for("ui.come_from_issuer"), next, now())
    except IssuerAway as reason:
        return _away(next, reason)
    response = _redirect(there)
    cookies.keep_begun(response, kept, SECONDS)
    return response


@blueprint.get("/sign-in/oidc/callback")
@for_everybody
@counted
def come_from_issuer() -> ResponseReturnValue:
    """Let in who comes back from the issuer, if it is vouched for."""
    response = _come_back(_flow())
    # Whatever has become of it, one that has begun ends here.
    cookies.forget_begun(response)
    return response


def _come_back(flow: "CodeFlow") -> Response:
    try:
        attempt = flow.recall(cookies.begun(), now())
    except Stopped as reason:
        # Whoever comes back twice is signed in already.
        return ask("/ui/", str(reason), 400) if recognise() is None else _redirect("/ui/")
    next = attempt.next
    try:
        who = access.entrance().admit_if(access.visit(), lambda: flow.finish(attempt, _answer()))
    except MustWait as reason:
        g.retry_after = reason.seconds
        return ask(next, f"Too many logins from your address failed. Try again in {reason.seconds} seconds.", 429)
    except IssuerAway as reason:
        return _away(next, reason)
    except NoRole as reason:
        return ask(next, str(reason), 403)
    except Refused as reason:
        return ask(next, str(reason), 401)
    except Stopped as reason:
        return ask(next, str(reason), 400)
    return let_in(who, None, next)


def _redirect(url: str) -> Response:
    return make_response(redirect(url, 303))


def _flow() -> "CodeFlow":
    known = services().people
    if known is None or known.flow is None:
        raise NotFound("There is no issuer at which to sign in.")
    return known.flow


def _answer() -> dict[str, str]:
    """Return what the issuer has sent along. What is there twice is not there: RFC 6749, 3.1."""
    return {name: found[0] for name, found in request.args.lists() if len(found) == 1}


def _address() -> str | None:
    """Return where browsers reach us. What a request says of it is believed on this machine alone."""
    settings = services().settings
    if settings.manager_url:
        return settings.manager_url
    is_near = settings.proxies_in_front == 0 and _LOOPBACK.match(request.host)
    return f"{request.scheme}://{request.host}" if is_near else None


def _away(next: str, reason: IssuerAway) -> Response:
    g.retry_after = 10
    return ask(next, str(reason), 503)
