"""The control plane's door to Redis."""

import redis

from shared import redis_servers

SECONDS = 5.0


def connect_redis(url: str) -> "redis.Redis":
    """Return a client that gives up after some seconds and leaves retrying to its callers."""
    return redis_servers.client(url, SECONDS)
