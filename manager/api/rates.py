"""How many requests the API takes: of each principal, and from each address. Counted in Redis, else in memory."""

import math
import time

import redis
from flask import Flask, current_app, g, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from manager.throttle import neighbourhood
from shared import redis_schema

PREFIX = f"{redis_schema.PREFIX}rate"


def limit(app: Flask, client: "redis.Redis", rate: str) -> None:
    """Check each request that has been let in. To be called between access.guard and access.demand_roles.

    So whoever is denied something is counted as well. Views that need no token are counted if they are marked with
    `is_counted`, by address.
    """
    sentence = f"Too many requests: at most {rate}."
    keys = (_principal, lambda: f"address:{_address()}")
    limiter = Limiter(
        key_func=_address,
        application_limits=[ApplicationLimit(rate, key_function=key, error_message=sentence) for key in keys],
        # Whatever kind of server it is, our own pool finds it.
        storage_uri="redis://",
        storage_options={"connection_pool": client.connection_pool, "key_prefix": PREFIX},  # type: ignore[dict-item]
        strategy="fixed-window",
        in_memory_fallback_enabled=True,
        request_identifier=lambda: request.endpoint or "nothing",
        on_breach=_remember_when,
    )
    limiter.request_filter(lambda: "principal" not in g and not _is_counted())
    limiter.init_app(app)


def _principal() -> str:
    return f"principal:{g.principal.id or g.principal.name}" if "principal" in g else f"nobody:{_address()}"


def _is_counted() -> bool:
    return bool(getattr(current_app.view_functions.get(request.endpoint or ""), "is_counted", False))


def _address() -> str:
    return neighbourhood(request.remote_addr)


def _remember_when(breached: RequestLimit) -> None:
    g.retry_after = max(1, math.ceil(breached.window.reset_time - time.time()))
