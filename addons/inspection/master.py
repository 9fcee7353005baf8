"""Our mitmweb: its view and its page, fed by workers. It has no proxy, and of mitmproxy's addons only the view."""

import logging

import redis.asyncio
import tornado.httpserver
from mitmproxy import flow, hooks, log, options
from mitmproxy.addons import export, view
from mitmproxy.master import Master
from mitmproxy.tools.web import webaddons
from mitmproxy.tools.web.app import logentry_to_json
from mitmproxy.tools.web.master import WebMaster

from addons import views
from addons.endurance import Repeating
from addons.inspection import safe_views
from addons.inspection.book import Book
from addons.inspection.bounds import Bounds
from addons.inspection.control import Control
from addons.inspection.feed import Feed
from addons.inspection.guard import Guard
from addons.inspection.manager_line import ManagerLine, manager_url
from addons.inspection.notices import Notices
from addons.inspection.page import Page
from addons.inspection.sign_in import CONFIRM_SECONDS, Confirming, Entrance, Sessions
from addons.inspection.throttle import Throttle
from addons.inspection.untold import Untold
from addons.inspection.updates import Updates
from addons.inspection.witness import Witness
from shared import logs, redis_servers
from shared.settings import Settings

REDIS_SECONDS = 5.0
_REDIS_CONNECTIONS = 4
_MB = 1 << 20
_LARGEST_REQUEST = 2 * _MB
_LARGEST_HEAD = 32 << 10
_IDLE_SECONDS = 120
COLUMNS = ["icon", "method", "path", "comment", "status", "size", "time", "quickactions"]

logger = logs.get("inspector")


class InspectorMaster(WebMaster):
    """What runs: the feed fills the book, the book the view, and the view tells the browsers."""

    def __init__(self, settings: Settings) -> None:
        # Not WebMaster's own: it would load all that a proxy has.
        Master.__init__(self, options.Options(server=False, confdir=str(settings.data_dir / "mitmproxy")))
        self._settings = settings
        self.view = view.View()
        self.view.sig_view_add.connect(self._sig_view_add)
        self.view.sig_view_remove.connect(self._sig_view_remove)
        self.view.sig_view_update.connect(self._sig_view_update)
        self.view.sig_view_refresh.connect(self._sig_view_refresh)
        self.events = Notices()  # type: ignore[assignment]
        self.events.sig_add.connect(self._sig_events_add)
        self.addons.add(webaddons.WebAddon(), export.Export(), self.view)
        self.options.update(web_open_browser=False, web_columns=COLUMNS)
        _choose_views()
        self._furnish(settings)

    def _furnish(self, settings: Settings) -> None:
        bounds = Bounds(settings.inspector_flows, settings.inspector_mb * _MB)
        self.sessions, self._line = Sessions(), ManagerLine(manager_url(settings))
        self.book = Book(self.view, bounds, self._line.url)
        control = Control(self.book, self._line, self.sessions, self.events)  # type: ignore[arg-type]
        entrance = Entrance(self._line, settings.inspector_password, self.sessions, Throttle())
        self._confirming = Repeating(Confirming(self._line, self.sessions).confirm_all, "confirming", CONFIRM_SECONDS)
        pool = redis_servers.async_pool(settings.redis_url, REDIS_SECONDS, _REDIS_CONNECTIONS)
        client = redis.asyncio.Redis.from_pool(pool)
        self.feed = Feed(client, self.book.take, self.book.take_held, self.events)  # type: ignore[arg-type]
        self._untold = Untold(client, self.book)
        guard = Guard(settings.inspector_host, settings.inspector_url)
        self._witness, has_password = Witness(self._line), bool(settings.inspector_password)
        page = Page(self, guard, self.sessions, entrance, control, self._witness, has_password)
        self.app = page  # type: ignore[assignment]

    def _sig_view_add(self, flow: flow.Flow) -> None:
        Updates.broadcast_flow("flows/add", flow)

    def _sig_view_update(self, flow: flow.Flow) -> None:
        Updates.broadcast_flow("flows/update", flow)

    def _sig_view_remove(self, flow: flow.Flow, index: int) -> None:
        Updates.broadcast(type="flows/remove", payload=flow.id)

    def _sig_view_refresh(self) -> None:
        Updates.broadcast_flow_reset()

    def _sig_events_add(self, entry: log.LogEntry) -> None:
        Updates.broadcast(type="events/add", payload=logentry_to_json(entry))

    async def running(self) -> None:
        """Listen, and begin to read. Raises OSError if this machine cannot listen there."""
        self._server = tornado.httpserver.HTTPServer(
            self.app,
            max_buffer_size=_LARGEST_REQUEST,
            max_body_size=_LARGEST_REQUEST,
            max_header_size=_LARGEST_HEAD,
            idle_connection_timeout=_IDLE_SECONDS,
            body_timeout=_IDLE_SECONDS,
        )
        self._server.listen(self._settings.inspector_port, self._settings.inspector_host)
        self.feed.running()
        self._untold.start()
        self._witness.start()
        self._confirming.start()
        await self.addons.trigger_event(hooks.RunningHook())
        logger.info("inspector_listens", url=self._settings.inspector_url)

    async def done(self) -> None:
        """Let go of everything."""
        self._server.stop()
        await self._confirming.stop()
        await self._untold.stop()
        await self._witness.stop()
        await self.feed.done()
        for session in self.sessions:
            self.sessions.end(session)
        await self._server.close_all_connections()
        self._line.close()
        await super().done()


def _choose_views() -> None:
    """Leave mitmproxy's content views that are safe, and add our own."""
    safe_views.keep_safe_views()
    logging.getLogger("mitmproxy.contentviews").setLevel(logging.CRITICAL)
    views.register()
