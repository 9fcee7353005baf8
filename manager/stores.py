"""The control plane's door to Redis."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SECONDS = 5.0


def connect_redis(url: str) -> "redis.Redis":
    """Return a client that gives up after some seconds and leaves retrying to its callers."""
    return redis.Redis.from_url(
        url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 0)
    )
