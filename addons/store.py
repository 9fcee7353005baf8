"""The data plane's only door to Redis: one round trip to admit a request, one to hand over a batch of usage events.

Nothing here retries or waits long: a request that cannot be decided is refused by its caller, and usage events are
kept by theirs.
"""

from collections.abc import Sequence

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared import redis_schema
from shared.models import Caller, UsageEvent
from shared.redis_schema import Denied


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not sensibly."""


class Store:
    """Speaks the contract of shared.redis_schema over one asyncio client."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._admit = client.register_script(redis_schema.script("admit"))

    @classmethod
    def connect(cls, url: str, timeout_ms: int) -> "Store":
        """Return a store; connections are opened when first needed."""
        seconds = timeout_ms / 1000
        client = redis.asyncio.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
        )
        return cls(client)

    async def admit(self, digest: str, providers: Sequence[str]) -> Caller | Denied:
        """Validate the token and take one of its requests, atomically. Raises StoreUnavailable."""
        keys, arguments = redis_schema.encode_admission(digest, providers)
        try:
            return redis_schema.decode_admission(await self._admit(keys=keys, args=arguments))
        except (redis.exceptions.RedisError, redis_schema.ContractError, OSError) as error:
            raise StoreUnavailable(f"admission failed: {error!r}") from error

    async def append(self, events: Sequence[UsageEvent]) -> None:
        """Append usage events to the stream, in order. Raises StoreUnavailable; some may have been appended then."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for event in events:
                    pipeline.xadd(redis_schema.USAGE_STREAM, redis_schema.encode_event(event))  # type: ignore[arg-type]
                await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"usage could not be appended: {error!r}") from error

    async def is_ready(self) -> bool:
        """Tell whether Redis answers and has been published to."""
        try:
            return bool(await self._client.exists(redis_schema.EPOCH))
        except (redis.exceptions.RedisError, OSError):
            return False

    async def done(self) -> None:
        """Close all connections; mitmproxy calls this at the end, after the rooms that stand before."""
        await self._client.aclose()
