"""Tells load balancers and operators how this worker is: alive, able to admit requests, and what it has counted."""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web
from mitmproxy import hooks
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from addons.metrics import Metrics
from addons.store import Store


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """Provider connections of this worker: open and idle now; requests so far that had to dial or could reuse one."""

    open: int = 0
    idle: int = 0
    dials: int = 0
    reuses: int = 0


@dataclass
class ProviderPoolHook(hooks.Hook):
    """The counts of the engine's connection pool have changed."""

    counts: PoolCounts


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
        self._pool = PoolCounts()
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

    def provider_pool(self, counts: PoolCounts) -> None:
        """Count what the pool has done since it last told."""
        self._metrics.provider_connections(counts.open, counts.idle)
        self._metrics.connections_used(counts.dials - self._pool.dials, counts.reuses - self._pool.reuses)
        self._pool = counts

    def done(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.stop()
