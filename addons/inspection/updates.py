"""What flows do is sent to all browsers that look, as it happens; one that cannot follow is let go."""

import asyncio
import json
from typing import Any

import tornado.websocket
from mitmproxy import flow, http
from mitmproxy.tools.web import app

from addons.inspection import filters
from addons.inspection.filters import Filter
from addons.inspection.guard import Guarded
from addons.inspection.notices import Notices
from addons.inspection.searching import TOO_SLOW

# What may wait for one browser.
MOST_MESSAGES = 20_000
MOST_BYTES = 32 << 20
MOST_FILTERS = 10
OVER = 1008


def told(shown: flow.Flow) -> dict[str, Any]:
    """Return what the page is told of a flow.

    The page offers to end only flows that mitmproxy itself holds back. Those that run can be ended, too.
    """
    return app.flow_to_json(shown) | {"intercepted": shown.intercepted or shown.live}


class Updates(Guarded, app.ClientConnection):
    """The WebSocket of one browser."""

    _waiting = 0
    _is_slow = False
    filters: dict[str, Filter]  # type: ignore[assignment]

    def __init__(self, application: app.Application, request: Any, **more: Any) -> None:
        super().__init__(application, request, **more)
        self._searches: dict[str, asyncio.Task[None]] = {}
        # What has been found of flows since a search began, by the name of its filter.
        self._news: dict[str, dict[str, bool]] = {}

    async def prepare(self) -> None:
        """Let nobody pass who may not."""
        await Guarded.prepare(self)
        if not self._finished:
            self.set_xsrf_cookie()  # Later there is no answer that could.

    @staticmethod
    def _json_dumps(d: object) -> bytes:
        # Whatever is in it, this is text that a browser takes: others would break off.
        return json.dumps(d).encode()

    def check_origin(self, origin: str) -> bool:
        """The guard has looked at it."""
        return True

    def open(self, *arguments: str, **named: str) -> None:
        """Begin; the end of the session will be the end."""
        super().open(*arguments, **named)  # type: ignore[no-untyped-call]
        if self.session is not None:
            self.session.ending.append(self._over)

    def on_close(self) -> None:
        """End."""
        super().on_close()  # type: ignore[no-untyped-call]
        for search in self._searches.values():
            search.cancel()
        if self.session is not None and self._over in self.session.ending:
            self.session.ending.remove(self._over)

    @classmethod
    def broadcast_flow(cls, type: Any, f: flow.Flow) -> None:
        """Tell all browsers of a flow; if there are none, nothing is done at all."""
        if cls.connections:
            shown = told(f)
            for connection in list(cls.connections):
                connection._broadcast_flow(type, f, shown)

    @classmethod
    def broadcast(cls, **message: Any) -> None:
        """Tell all browsers something."""
        if cls.connections:
            encoded = cls._json_dumps(message)
            for connection in list(cls.connections):
                connection.send(encoded)

    def _broadcast_flow(self, type: Any, f: flow.Flow, flow_json: dict[str, Any]) -> None:
        fits = {name: wanted(f) for name, wanted in self.filters.items()}
        self.send(self._json_dumps({"type": type, "payload": {"flow": flow_json, "matching_filters": fits}}))
        for name, found in self._news.items():
            found[f.id] = fits.get(name, False)
        for name in [name for name, wanted in self.filters.items() if wanted.is_slow and name not in self._searches]:
            self._give_up(name, TOO_SLOW)

    def update_filter(self, name: str, expr: str) -> None:
        """Say which flows fit a filter, soon and with each update. One that cannot be used fits none."""
        if name not in self.filters and len(self.filters) >= MOST_FILTERS:
            raise ValueError("too many filters")
        self.filters.pop(name, None)
        if name in self._searches:
            self._searches.pop(name).cancel()
            del self._news[name]
        if not expr:
            self._tell_fitting(name, None)
            return
        try:
            self.filters[name] = filters.parse(expr)
        except ValueError as reason:
            self._give_up(name, str(reason))
        else:
            self._news[name] = {}
            search = asyncio.create_task(self._search(name, self.filters[name], self._news[name]))
            if not search.done():  # As it may be at once with mitmproxy's loop.
                self._searches[name] = search

    async def _search(self, name: str, wanted: Filter, news: dict[str, bool]) -> None:
        try:
            flows = self.application.master.view
            fitting = await self.settings["searches"].fitting(wanted, list(flows))
        except ValueError as reason:
            self._give_up(name, str(reason))
        else:
            fitting -= news.keys()
            fitting |= {each for each, fits in news.items() if fits}
            self._tell_fitting(name, [each.id for each in flows if each.id in fitting])
        finally:
            if self._news.get(name) is news:
                del self._news[name]
                self._searches.pop(name, None)

    def _give_up(self, name: str, reason: str) -> None:
        self.filters.pop(name, None)
        self.send(self._json_dumps({"type": "events/add", "payload": _notice(reason)}))
        self._tell_fitting(name, [])

    def _tell_fitting(self, name: str, fitting: list[str] | None) -> None:
        told = {"name": name, "matching_flow_ids": fitting}
        self.send(self._json_dumps({"type": "flows/filterUpdate", "payload": told}))

    def send(self, message: bytes) -> None:
        """Send something after all that waits already."""
        if self._is_slow:
            return
        self._waiting += len(message)
        if self._send_queue.qsize() >= MOST_MESSAGES or self._waiting > MOST_BYTES:
            self._is_slow = True
            self._send_queue = asyncio.Queue()
            asyncio.get_running_loop().call_soon(self._drop)
            return
        super().send(message)

    async def send_task(self) -> None:
        """Send one message after the other, each when the one before is on its way."""
        while True:
            message = await self._send_queue.get()
            self._waiting -= len(message)
            try:
                await self.write_message(message)
            except tornado.websocket.WebSocketClosedError:
                self.on_close()
                return

    def _over(self) -> None:
        self.close(OVER, "The session has ended.")

    def _drop(self) -> None:
        """Break off: who does not read would not read a farewell either."""
        self._send_task.cancel()
        if self.ws_connection is not None:
            self.ws_connection._abort()


def _notice(text: str) -> dict[str, Any]:
    notices = Notices()
    notices.add("warn", text)
    return app.logentry_to_json(notices.data[0])


def encoded(flows: list[http.HTTPFlow]) -> bytes:
    """Return what the page is told of some flows, without the brackets around a list."""
    return b",".join(Updates._json_dumps(told(each)) for each in flows)
