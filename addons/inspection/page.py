"""mitmweb's page and the part of its API that is open here: looking, and acting on one flow at a time.

Everything else that mitmweb can do – options, commands, replay, loading and creating flows – leads to a refusal.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tornado.web
from mitmproxy.tools.web import app

from addons.inspection import acting, doors, looking
from addons.inspection.control import Control
from addons.inspection.guard import HEADERS, Forbidden, Guard, Missing
from addons.inspection.searching import Searches
from addons.inspection.sign_in import Entrance, Sessions
from addons.inspection.updates import Updates
from addons.inspection.witness import Witness

if TYPE_CHECKING:
    from addons.inspection.master import InspectorMaster

_WEB = Path(app.__file__).parent
_LARGEST_MESSAGE = 64 << 10
_PING_SECONDS = 30


class Static(tornado.web.StaticFileHandler):
    """mitmweb's scripts and styles, the same for everybody."""

    def set_default_headers(self) -> None:
        """Set what every answer has."""
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def set_extra_headers(self, path: str) -> None:
        """They have their content's digest in their names."""
        self.set_header("Cache-Control", "public, max-age=86400")


_FLOW = r"/flows/(?P<flow_id>[0-9a-zA-Z._\-]{1,64})"
_MESSAGE = _FLOW + r"/(?P<message>request|response|messages)"
ROUTES: list[tuple[str, type[tornado.web.RequestHandler]]] = [
    (r"/", doors.Index),
    (r"/sign-out", doors.SignOut),
    (r"/filter-help(?:\.json)?", looking.FilterHelp),
    (r"/updates", Updates),
    (r"/commands(?:\.json)?", looking.Commands),
    (r"/commands/(?P<name>[a-z.]+)", looking.Command),
    (r"/events(?:\.json)?", looking.Events),
    (r"/flows(?:\.json)?", looking.Flows),
    (r"/flows/dump", looking.Download),
    (r"/flows/(?:resume|kill)", Forbidden),
    (_FLOW, acting.Edit),
    (_FLOW + r"/resume", acting.Resume),
    (_FLOW + r"/kill", acting.Kill),
    (_FLOW + r"/revert", acting.Revert),
    (_FLOW + r"/(?:duplicate|replay)", Forbidden),
    (_MESSAGE + r"/content.data", acting.Body),
    (_MESSAGE + r"/content/(?P<content_view>[0-9a-zA-Z\-\_%]+)(?:\.json)?", looking.Content),
    (r"/options(?:\.json)?", looking.Options),
    (r"/state(?:\.json)?", looking.State),
    (r"/(?:clear|options/save|processes|executable-icon)", Forbidden),
]


class Page(tornado.web.Application):
    """The application."""

    def __init__(
        self,
        master: "InspectorMaster",
        guard: Guard,
        sessions: Sessions,
        entrance: Entrance,
        control: Control,
        witness: Witness,
        has_password: bool,
    ) -> None:
        self.master = master
        settings: dict[str, Any] = {
            "guard": guard,
            "sessions": sessions,
            "entrance": entrance,
            "control": control,
            "witness": witness,
            "searches": Searches(),
            "has_password": has_password,
            # mitmweb's own handlers ask for it when nobody has come in: no password is right here.
            "is_valid_password": lambda password: False,
            "static_path": str(_WEB / "static"),
            "static_handler_class": Static,
            "xsrf_cookies": True,
            "xsrf_cookie_name": "_mitmproxy_xsrf",  # By which mitmweb's page knows it.
            "xsrf_cookie_kwargs": {"samesite": "Strict", "secure": guard.is_tls},
            "websocket_max_message_size": _LARGEST_MESSAGE,
            "websocket_ping_interval": _PING_SECONDS,
            "default_handler_class": Missing,
            "log_function": lambda handler: None,  # Addresses in full would be logged.
            "debug": False,
            "autoreload": False,
            "transforms": [app.GZipContentAndFlowFiles],
        }
        super().__init__(ROUTES, **settings)
