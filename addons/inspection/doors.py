"""The way in and the way out."""

from pathlib import Path

from mitmproxy.tools.web import app
from tornado.template import Template

from addons.inspection.guard import COOKIE, Guarded
from addons.inspection.manager_line import Refused
from addons.inspection.sign_in import SESSION_SECONDS

_FORM = Path(__file__).with_name("sign_in.html")
_PAGE = Path(app.__file__).with_name("index.html")


class Index(Guarded):
    """mitmweb's page for those who have come in, a form for others."""

    is_entrance = True

    def get(self) -> None:
        """Show it."""
        if self.session is None:
            self._show_form("")
        else:
            self.set_header("Content-Type", "text/html; charset=UTF-8")
            self.set_xsrf_cookie()
            self.finish(_PAGE.read_bytes())

    async def post(self) -> None:
        """Let somebody in who shows in the form, and nowhere else, that he may."""
        try:
            shown = await self.entrance.sign_in(self.get_body_argument("token", "").strip(), self.address)
        except Refused as refusal:
            self.set_status(403 if refusal.status == 401 else refusal.status)
            if refusal.wait:
                self.set_header("Retry-After", str(refusal.wait))
            self._show_form(refusal.text)
            return
        self.set_cookie(
            COOKIE, shown, httponly=True, samesite="Strict", secure=self.guard.is_tls, max_age=int(SESSION_SECONDS)
        )
        self.redirect("./", status=303)

    def _show_form(self, refusal: str) -> None:
        form = Template(_FORM.read_text(), "sign-in", whitespace="single")
        named = self.get_template_namespace() | {"refusal": refusal, "has_password": self.settings["has_password"]}
        self.finish(form.generate(**named))


class SignOut(Guarded):
    """The way out."""

    def get(self) -> None:
        """End the session."""
        if self.session is not None:
            self.sessions.end(self.session)
        self.clear_cookie(COOKIE)
        self.redirect("./", status=303)
