"""Tells load balancers and operators how this worker is: alive, able to admit requests, and what it has counted."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from addons.metrics import Metrics
from addons.store import Store


class _Json(tornado.web.RequestHandler):
    def set_default_headers(self) -> None:
        self.set_header("content-type", "application/json")
        self.clear_header("server")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.finish(json.dumps({"status": "failed", "reason": HTTPStatus(status_code).phrase}))


class _Unknown(_Json):
    def prepare(self) -> None:
        self.send_error(404)


class _Alive(_Json):
    def get(self) -> None:
        self.finish(json.dumps({"status": "ok"}))


class _Ready(_Json):
    def initialize(self, store: Store) -> None:
        self._store = store

    async def get(self) -> None:
        is_ready = await self._store.is_ready()
        self.set_status(200 if is_ready else 503)
        self.finish(json.dumps({"status": "ok" if is_ready else "failed", "checks": {"redis": is_ready}}))


class _Scraped(_Json):
    def initialize(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self) -> None:
        text = await asyncio.to_thread(self._metrics.text)  # It reads files of all workers; streams must not wait.
        self.set_header("content-type", CONTENT_TYPE_PLAIN_0_0_4)
        self.finish(text)


class Telemetry:
    """Serves /healthz, /readyz and /metrics on a port of its own, which the workers of one machine share."""

    def __init__(self, store: Store, metrics: Metrics, host: str, port: int) -> None:
        self._store = store
        self._metrics = metrics
        self._address = (host, port)
        self._server: tornado.httpserver.HTTPServer | None = None

    def running(self) -> None:
        """Start listening."""
        routes: list[Any] = [
            ("/healthz", _Alive),
            ("/readyz", _Ready, {"store": self._store}),
            ("/metrics", _Scraped, {"metrics": self._metrics}),
        ]
        app = tornado.web.Application(routes, default_handler_class=_Unknown, log_function=lambda handler: None)
        self._server = tornado.httpserver.HTTPServer(app, max_body_size=1024)
        host, port = self._address
        self._server.add_sockets(tornado.netutil.bind_sockets(port, host, reuse_port=True))

    def done(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.stop()
