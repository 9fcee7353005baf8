"""What can go wrong with publishing, for everybody who publishes."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis


class PublishError(Exception):
    """Redis could not be published to. What was committed to SQL stays; it will be published later."""


class WrongRedis(PublishError):
    """What is in Redis belongs to another database than ours; nothing of it has been touched."""


@contextmanager
def publishing(what: str = "Redis could not be published to") -> Iterator[None]:
    """Raise PublishError where Redis fails."""
    try:
        yield
    except redis.RedisError as error:
        raise PublishError(f"{what}: {error}") from error
