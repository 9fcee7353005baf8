"""What flows do is sent to all browsers that look, as it happens; one that cannot follow is let go."""

import asyncio
import json
from typing import Any

import tornado.websocket
from mitmproxy import flow, http
from mitmproxy.tools.web import app

from addons.inspection import filters
from addons.inspection.guard import Guarded
from addons.inspection.notices import Notices

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

    def update_filter(self, name: str, expr: str) -> None:
        """Say which flows fit a filter, now and with each update. One that cannot be used fits none."""
        if name not in self.filters and len(self.filters) >= MOST_FILTERS:
            raise ValueError("too many filters")
        self.filters.pop(name, None)
        fitting: list[str] | None = None
        if expr:
            try:
                found = filters.parse(expr)
            except ValueError as reason:
                fitting = []
                self.send(self._json_dumps({"type": "events/add", "payload": _notice(str(reason))}))
            else:
                self.filters[name] = found
                fitting = [each.id for each in self.application.master.view if found(each)]
        self.send(
            self._json_dumps({"type": "flows/filterUpdate", "payload": {"name": name, "matching_flow_ids": fitting}})
        )

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
