"""Tells load balancers and operators how this worker is: alive, able to admit requests, and what it has counted."""

import asyncio
import json
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from addons.metrics import Metrics
from addons.store import Store


class _Alive(tornado.web.RequestHandler):
    def get(self) -> None:
        self.finish(json.dumps({"status": "ok"}))

    def set_default_headers(self) -> None:
        self.set_header("content-type", "application/json")
        self.clear_header("server")


class _Ready(_Alive):
    def initialize(self, store: Store) -> None:
        self._store = store

    async def get(self) -> None:  # type: ignore[override]
        is_ready = await self._store.is_ready()
        self.set_status(200 if is_ready else 503)
        self.finish(json.dumps({"status": "ok" if is_ready else "failed", "checks": {"redis": is_ready}}))


class _Scraped(_Alive):
    def initialize(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self) -> None:  # type: ignore[override]
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
        app = tornado.web.Application(routes, log_function=lambda handler: None)
        self._server = tornado.httpserver.HTTPServer(app, max_body_size=1024)
        host, port = self._address
        self._server.add_sockets(tornado.netutil.bind_sockets(port, host, reuse_port=True))

    def done(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.stop()
