"""The data plane's only door to Redis: one round trip to admit a request, one to hand over a batch of usage events.

Nothing here retries or waits long: a request that cannot be decided is refused by its caller, and usage events are
kept by theirs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from addons.redis_line import RedisLine
from shared import redis_schema
from shared.models import Caller, UsageEvent
from shared.redis_schema import BreakerChange, ControlMessage, Denied

# How long a silent control channel is believed to be connected, in seconds.
HEARTBEAT_SECONDS = 5.0
# Of one worker to Redis, beside the line.
MAX_CONNECTIONS = 32
# How long a call may take if the client was given no time-out, in seconds.
DEFAULT_SECONDS = 5.0

_FAULTS = (redis.exceptions.RedisError, redis_schema.ContractError, OSError, TimeoutError)


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not sensibly."""


class Store:
    """Speaks the contract of shared.redis_schema over one asyncio client."""

    def __init__(self, client: "redis.asyncio.Redis", note_failure: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._note_failure = note_failure
        self._admit = client.register_script(redis_schema.script("admit"))
        timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or DEFAULT_SECONDS
        self._line = RedisLine(client.connection_pool, timeout)

    @classmethod
    def connect(cls, url: str, timeout_ms: int, note_failure: Callable[[], None] = lambda: None) -> "Store":
        """Return a store; connections are opened when first needed. `note_failure` counts calls that failed."""
        seconds = timeout_ms / 1000
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(redis.asyncio.Redis.from_pool(pool), note_failure)

    async def admit(self, digest: str, providers: Sequence[str]) -> Caller | Denied:
        """Validate the token and take one of its requests, atomically. Raises StoreUnavailable."""
        keys, arguments = redis_schema.encode_admission(digest, providers)
        try:
            return redis_schema.decode_admission(await self._evaluate(keys, arguments))
        except _FAULTS as error:
            raise self._failed(f"admission failed: {error!r}") from error

    async def _evaluate(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Sequence[bytes | int]:
        try:
            reply = await self._line.call("EVALSHA", self._admit.sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:  # A Redis that has been started anew; redis-py sends the script.
            reply = await self._admit(keys=keys, args=arguments)
        return cast(Sequence[bytes | int], reply)

    async def append(self, events: Sequence[UsageEvent]) -> None:
        """Append usage events to the stream, in order. Raises StoreUnavailable; some may have been appended then."""
        outcomes = await asyncio.gather(*map(self._append, events), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, _FAULTS):
                raise self._failed(f"usage could not be appended: {outcome!r}") from outcome
            if isinstance(outcome, BaseException):
                raise outcome

    def _append(self, event: UsageEvent) -> Awaitable[object]:
        fields = redis_schema.encode_event(event).items()
        return self._line.call("XADD", redis_schema.USAGE_STREAM, "*", *[part for field in fields for part in field])

    async def share(self, change: BreakerChange) -> None:
        """Tell all workers of a breaker's change, those that start later, too. The probe is free again.

        Raises StoreUnavailable.
        """
        payload = redis_schema.encode_control(change)
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                if change.is_open:
                    pipeline.hset(redis_schema.BREAKERS, change.subject, payload)
                else:
                    pipeline.hdel(redis_schema.BREAKERS, change.subject)
                pipeline.delete(redis_schema.probe_key(change.subject))
                pipeline.publish(redis_schema.CONTROL_CHANNEL, payload)
                await pipeline.execute()
        except _FAULTS as error:
            raise self._failed(f"a breaker could not be shared: {error!r}") from error

    async def take_probe(self, subject: str, seconds: float) -> bool:
        """Take the only probe of all workers; True if nobody has it. Raises StoreUnavailable."""
        try:
            key = redis_schema.probe_key(subject)
            return bool(await self._client.set(key, b"1", nx=True, px=round(seconds * 1000)))
        except _FAULTS as error:
            raise self._failed(f"a probe could not be taken: {error!r}") from error

    async def open_breakers(self) -> list[BreakerChange]:
        """Return the breakers that are not closed. Raises StoreUnavailable."""
        try:
            fields = await self._client.hgetall(redis_schema.BREAKERS)
            changes = [redis_schema.decode_control(cast(bytes, payload)) for payload in fields.values()]
        except _FAULTS as error:
            raise self._failed(f"breakers could not be read: {error!r}") from error
        return [change for change in changes if isinstance(change, BreakerChange)]

    async def allows_origin(self, origin: str) -> bool:
        """Tell whether any active project lets pages of this origin in. Raises StoreUnavailable."""
        try:
            return bool(await self._client.sismember(redis_schema.CORS_ORIGINS, origin))
        except _FAULTS as error:
            raise self._failed(f"an origin could not be looked up: {error!r}") from error

    async def are_active(self, callers: Sequence[tuple[str, str]]) -> list[tuple[bool, bool]]:
        """Tell for each (token digest, project id) whether token and project are active. Raises StoreUnavailable."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for digest, project_id in callers:
                    pipeline.hget(redis_schema.token_key(digest), "is_active")
                    pipeline.hget(redis_schema.project_key(project_id), "is_active")
                found = [value == b"1" for value in await pipeline.execute()]
        except _FAULTS as error:
            raise self._failed(f"callers could not be looked up: {error!r}") from error
        return list(zip(found[::2], found[1::2], strict=True))

    @asynccontextmanager
    async def control(self) -> AsyncIterator[AsyncIterator[ControlMessage]]:
        """Listen to the control channel: within the block, messages come as they are published.

        Raises StoreUnavailable when the connection breaks; messages of that time are missed.
        """
        try:
            async with self._client.pubsub() as channel:
                await channel.subscribe(redis_schema.CONTROL_CHANNEL)
                yield _messages(channel)
        except _FAULTS as error:
            raise self._failed(f"the control channel is not there: {error!r}") from error

    async def is_ready(self) -> bool:
        """Tell whether Redis answers and has been published to."""
        try:
            return bool(await self._client.exists(redis_schema.EPOCH))
        except _FAULTS:
            self._note_failure()
            return False

    def _failed(self, reason: str) -> StoreUnavailable:
        self._note_failure()
        return StoreUnavailable(reason)

    async def done(self) -> None:
        """Close all connections; mitmproxy calls this at the end, after the rooms that stand before."""
        await self._line.close()
        await self._client.aclose()


async def _messages(channel: "redis.asyncio.client.PubSub") -> AsyncIterator[ControlMessage]:
    is_alive = True
    while True:
        message = await channel.get_message(timeout=HEARTBEAT_SECONDS)
        if message is None:
            if not is_alive:
                raise TimeoutError("the server does not answer")
            is_alive = False
            await channel.ping()
            continue
        is_alive = True
        if message["type"] == "message":
            yield redis_schema.decode_control(message["data"])
