"""Cookies: the secret of a session, a sign-in that has begun, the theme, and what pages leave for each other.

None of them ever holds a token of somebody. Behind TLS they never leave it, and all but the theme are bound to this
host and cannot be set from a neighbouring one.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import BadRequest

from manager.api.access import is_below

PAGES = "llm_proxy_page"
THEME = "llm_proxy_theme"
_SESSION = "llm_proxy_session"
_BEGUN = "llm_proxy_begun"
_KEY_BYTES = 32
_YEAR = 365 * 24 * 3600
_READING = {"GET", "HEAD", "OPTIONS"}
_OWN = {"same-origin", "none"}


class _PageCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, which is Secure and bound to this host whenever the request came over TLS."""

    def get_cookie_name(self, app: Flask) -> str:
        return _name(PAGES)

    def get_cookie_path(self, app: Flask) -> str:
        return _path()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def keep_pages(app: Flask, pepper: bytes) -> None:
    """Sign what pages leave for each other, and refuse what was not sent from one of our pages."""
    app.secret_key = HKDF(SHA256(), _KEY_BYTES, None, b"llm-proxy: cookies of the admin UI").derive(pepper)
    app.config.update(
        SESSION_COOKIE_NAME=PAGES,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # Only /ui is to be looked at, and a form may be left open over lunch: its token lives as long as the cookie.
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        # A reverse proxy may have changed the host that this would compare; see below for what is asked instead.
        WTF_CSRF_SSL_STRICT=False,
    )
    app.session_interface = _PageCookie()
    protection = CSRFProtect(app)

    def check() -> None:
        if is_below("/ui") and request.method not in _READING:
            if request.headers.get("sec-fetch-site", "none") not in _OWN:
                raise BadRequest("This was sent from another site.")
            try:
                protection.protect()
            except CSRFError:
                raise BadRequest("This form is too old, or did not come from one of these pages.") from None

    app.before_request(check)


def secret() -> str:
    """Return the secret of the session that the browser has, if any."""
    return request.cookies.get(_name(_SESSION), "")


def keep_secret(response: Response, secret: str, seconds: int | None) -> None:
    """Let the browser keep a session's secret, for some seconds or until it is closed."""
    _keep(response, _SESSION, secret, seconds)


def forget_secret(response: Response) -> None:
    """Let the browser forget it."""
    _forget(response, _SESSION)


def begun() -> str:
    """Return the sign-in at the issuer's that the browser has begun, if any."""
    return request.cookies.get(_name(_BEGUN), "")


def keep_begun(response: Response, sealed: str, seconds: int) -> None:
    """Let the browser keep a sign-in that has begun."""
    _keep(response, _BEGUN, sealed, seconds)


def forget_begun(response: Response) -> None:
    """Let the browser forget it."""
    _forget(response, _BEGUN)


def keep_theme(response: Response, theme: str) -> None:
    """Let the browser keep the theme, which scripts of ours may read."""
    response.set_cookie(THEME, theme, max_age=_YEAR, path="/ui", secure=request.is_secure, samesite="Lax")


def _keep(response: Response, name: str, value: str, seconds: int | None) -> None:
    # Lax, not Strict: whoever follows a link, or comes back from the issuer, brings it along.
    response.set_cookie(
        _name(name), value, max_age=seconds, path=_path(), secure=request.is_secure, httponly=True, samesite="Lax"
    )


def _forget(response: Response, name: str) -> None:
    response.delete_cookie(_name(name), path=_path(), secure=request.is_secure, httponly=True, samesite="Lax")


def _name(name: str) -> str:
    # Browsers take a cookie with this prefix only if it is Secure, for the whole host, and set by that host itself.
    return f"__Host-{name}" if request.is_secure else name


def _path() -> str:
    return "/" if request.is_secure else "/ui"
