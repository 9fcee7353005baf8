"""What every request to the page has to pass: the right host, no other site behind it, and somebody who has come in."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

import tornado.web
from tornado.httputil import HTTPServerRequest

from addons.inspection.manager_line import Refused
from addons.inspection.sign_in import Entrance, Session, Sessions
from shared import logs

COOKIE = "llm_proxy_inspector"
HEADERS = {
    "Server": "llm-proxy",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer`, browsers would not say that the sign-in form is our own.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}

log = logs.get("inspector")


class Guard:
    """Knows by which names this page is called. Others are those of a site that has our address in its DNS."""

    def __init__(self, listen_host: str, public_url: str) -> None:
        public = urlsplit(public_url)
        self._origin = f"{public.scheme}://{public.netloc}".lower()
        self._hosts = {"localhost", (public.hostname or "").lower(), *_concrete(listen_host)}
        self.is_tls = public.scheme == "https"

    def check(self, request: HTTPServerRequest, is_entrance: bool = False) -> None:
        """Raise Refused if a request is not for us, or another site has it sent.

        To the `is_entrance` links of other sites may lead, since nothing is done and nothing shown there.
        """
        if not self._is_ours(request.host):
            raise Refused(403, "This page is not called by that name; see LLM_PROXY_INSPECTOR_URL.")
        origin = request.headers.get("Origin", request.headers.get("Sec-WebSocket-Origin"))
        is_link = is_entrance and request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if origin is not None and not self._is_same(origin, request.host):
            raise Refused(403, "Other sites may not use this page.")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not is_link:
            raise Refused(403, "Other sites may not use this page.")

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        try:
            return name in self._hosts or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def _is_same(self, origin: str, host: str) -> bool:
        _, slashes, netloc = origin.lower().partition("://")
        return bool(slashes) and (netloc == host.lower() or origin.lower() == self._origin)


class Guarded(tornado.web.RequestHandler):
    """A handler behind the guard; `session` is who asks. Its refusals are plain text."""

    is_entrance = False
    session: Session | None = None

    @property
    def guard(self) -> Guard:
        """Of this page."""
        found: Guard = self.settings["guard"]
        return found

    async def note_saved(self, count: int) -> None:
        """Tell that whoever asks takes so many flows away. Raises Refused if that cannot be written down."""
        if self.session is not None:
            await self.settings["witness"].saved(self.session, count)

    def note_read(self, request_id: str) -> None:
        """Tell that whoever asks sees a body of a request."""
        if self.session is not None:
            self.settings["witness"].read(self.session, request_id)

    @property
    def sessions(self) -> Sessions:
        """Of this page."""
        found: Sessions = self.settings["sessions"]
        return found

    @property
    def entrance(self) -> Entrance:
        """Of this page."""
        found: Entrance = self.settings["entrance"]
        return found

    def set_default_headers(self) -> None:
        """Set what every answer has."""
        for name, value in HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Let nobody pass who may not."""
        try:
            self.guard.check(self.request, self.is_entrance)
            self.session = await self._who()
        except Refused as refusal:
            self.refuse(refusal)
            return
        if self.session is None and not self.is_entrance:
            self.refuse(Refused(403, "Sign in first."))

    async def _who(self) -> Session | None:
        scheme, _, secret = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return await self.entrance.bearer(secret.strip(), self.address)
        shown = self.get_cookie(COOKIE)
        return self.sessions.find(shown) if shown else None

    @property
    def address(self) -> str:
        """Where the request is from."""
        return str(self.request.remote_ip)

    def get_current_user(self) -> bool:
        """Tell mitmweb's own handlers whether somebody has come in."""
        return self.session is not None

    def set_xsrf_cookie(self) -> str:
        """Give the page what it has to show with whatever it does."""
        return str(self.xsrf_token)

    def check_xsrf_cookie(self) -> None:
        """Only cookies are sent without being asked for; who shows a token means it."""
        if "Authorization" not in self.request.headers:
            super().check_xsrf_cookie()

    def refuse(self, refusal: Refused) -> None:
        """Answer that something is not done, and why."""
        if refusal.wait:
            self.set_header("Retry-After", str(refusal.wait))
        self.set_status(refusal.status if 400 <= refusal.status < 600 else 502)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(refusal.text)

    def write_error(self, status_code: int, **told: object) -> None:
        """Answer a fault, without repeating in markup what was asked for."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        found = told.get("exc_info")
        error = found[1] if isinstance(found, tuple) else None
        text = error.log_message if isinstance(error, tornado.web.HTTPError) and status_code < 500 else None
        self.finish(text or self._reason)

    def log_exception(self, kind: object, error: object, trace: object) -> None:
        """Log what nobody expected; tornado would quote the whole request."""
        if not isinstance(error, tornado.web.HTTPError):
            log.error("inspector_failed", path=self.request.path, exc_info=(kind, error, trace))


class Missing(Guarded):
    """What there is not, or not here: mitmweb can do much more than look."""

    async def prepare(self) -> None:
        """Say so, to those who have come in."""
        await super().prepare()
        if not self._finished:
            self.refuse(Refused(404, "There is no such thing here."))

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here."""


class Forbidden(Missing):
    """What mitmweb can do, and must not here."""

    async def prepare(self) -> None:
        """Say so, to those who have come in."""
        await Guarded.prepare(self)
        if not self._finished:
            self.refuse(Refused(403, "This cannot be done here: flows are looked at, and acted upon one by one."))


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _concrete(listen_host: str) -> Iterable[str]:
    try:
        return [] if ipaddress.ip_address(listen_host).is_unspecified else [listen_host.lower()]
    except ValueError:
        return [listen_host.lower()] if listen_host else []
