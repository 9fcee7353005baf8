"""The data plane's only door to Redis: one round trip to admit a request, one to settle it.

Nothing here retries or waits long: a request that cannot be decided is refused by its caller, and settlements are kept
by theirs. While Redis does not answer, requests are told so at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import redis.asyncio
import redis.exceptions

from addons.redis_health import RedisHealth
from addons.redis_line import RedisLine
from addons.settlement import Settlement
from shared import flow_schema, holds_schema, live_schema, redis_schema, redis_servers, rules_schema
from shared.holds_schema import NotExtended, OpenRequest, encode_request
from shared.live_schema import Snapshot
from shared.models import NOTHING, Amounts, Caller
from shared.redis_schema import BreakerChange, ControlMessage, Decided, Denied

# How long a silent control channel is believed to be connected, in seconds.
HEARTBEAT_SECONDS = 5.0
# Of one worker to Redis, beside the line.
MAX_CONNECTIONS = 32
# How long a call may take if the client was given no time-out, in seconds.
DEFAULT_SECONDS = 5.0

_SCRIPTS = ("admit", "settle", "extend", "leases", "bury", "feed")
_FAULTS = (redis.exceptions.RedisError, redis_schema.ContractError, OSError, TimeoutError)
# By these a server says that it cannot write, though it may know everything: no room, a replica, no disk, too few
# replicas. (Some come as errors of the script.)
_CANNOT_WRITE = ("OOM", "READONLY", "MISCONF", "NOREPLICAS")


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not sensibly."""


class StoreCannotWrite(StoreUnavailable):
    """Redis answers, but can count nothing."""


class Store:
    """Speaks the contract of shared.redis_schema over one asyncio client."""

    def __init__(self, client: "redis.asyncio.Redis", note_failure: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._note_failure = note_failure
        self._scripts = {name: client.register_script(redis_schema.script(name)) for name in _SCRIPTS}
        timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or DEFAULT_SECONDS
        self._line = RedisLine(client.connection_pool, timeout)
        self._health = RedisHealth(self._ping, _FAULTS)

    @classmethod
    def connect(cls, url: str, timeout_ms: int, note_failure: Callable[[], None] = lambda: None) -> "Store":
        """Return a store; connections are opened when first needed. `note_failure` counts calls that failed."""
        pool = redis_servers.async_pool(url, timeout_ms / 1000, MAX_CONNECTIONS)
        return cls(redis.asyncio.Redis.from_pool(pool), note_failure)

    async def admit(
        self, digest: str, providers: Sequence[str], amounts: Amounts = NOTHING, request: OpenRequest | None = None
    ) -> Caller | Denied:
        """Validate the token and take one request and these amounts of every limit, or nothing, atomically.

        `request` is what is remembered of it while it runs. Raises StoreUnavailable.
        """
        described, request_id = (b"", "") if request is None else (encode_request(request), request.request_id)
        keys, arguments = redis_schema.encode_admission(digest, providers, amounts, described, request_id=request_id)
        return self._read(redis_schema.decode_admission, await self._ask("admission", "admit", keys, arguments))

    async def peek(self, digest: str, providers: Sequence[str]) -> Caller | Denied:
        """Validate the token without counting anything, and tell its limits. Raises StoreUnavailable."""
        keys, arguments = redis_schema.encode_admission(digest, providers, is_peek=True)
        reply = await self._ask("admission", "admit", keys, arguments, "EVALSHA_RO")
        return self._read(redis_schema.decode_admission, reply)

    async def _ask(
        self,
        purpose: str,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int],
        command: str = "EVALSHA",
    ) -> Sequence[bytes | int]:
        if self._health.is_down:
            raise StoreUnavailable("Redis does not answer")
        try:
            return await self._run(script, keys, arguments, command)
        except redis.exceptions.ResponseError as error:
            raise self._not_written(f"{purpose} failed: {error}", error) from error
        except _FAULTS as error:
            self._health.failed(str(error))
            raise self._failed(f"{purpose} failed: {error}") from error

    def _read[T](self, decode: Callable[[Sequence[bytes | int]], T], reply: Sequence[bytes | int]) -> T:
        try:
            return decode(reply)
        except redis_schema.ContractError as error:
            raise self._failed(str(error)) from error

    async def _run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], command: str = "EVALSHA"
    ) -> Sequence[bytes | int]:
        known = self._scripts[script]
        try:
            reply = await self._line.call(command, known.sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:  # A Redis that has been started anew.
            await self._line.call("SCRIPT", "LOAD", cast(str, known.script))
            reply = await self._line.call(command, known.sha, len(keys), *keys, *arguments)
        return cast(Sequence[bytes | int], reply)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle requests in order, each at most once. Raises StoreUnavailable; some may have been settled then."""
        outcomes = await asyncio.gather(*map(self._settle, settlements), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _settle(self, settlement: Settlement) -> None:
        keys, arguments = holds_schema.encode_settlement(settlement.hold, settlement.event, settlement.actual)
        await self._ask("settlement", "settle", keys, arguments)

    async def extend(self, hold: bytes, in_all: Amounts) -> bytes | NotExtended:
        """Reserve so much in all for a running request; returns its hold from now on. Raises StoreUnavailable.

        To ask for the same again does no harm. `hold` is what is known of it, however old.
        """
        keys, arguments = holds_schema.encode_extension(hold, in_all)
        return self._read(holds_schema.decode_extension, await self._ask("extension", "extend", keys, arguments))

    async def renew(self, request_ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """Say that these requests still run; returns ids and holds of some that nobody has renewed.

        Raises StoreUnavailable.
        """
        keys, arguments = holds_schema.encode_leases(request_ids)
        return self._read(holds_schema.decode_leases, await self._ask("renewal", "leases", keys, arguments))

    async def bury(self, request_id: str, hold: bytes, reason: str) -> None:
        """Set a hold aside that cannot be read. Raises StoreUnavailable."""
        await self._ask("burial", "bury", *holds_schema.encode_burial(request_id, hold, reason))

    async def price_table(self) -> bytes:
        """Return the published price table, empty if there is none. Raises StoreUnavailable."""
        try:
            return cast(bytes, await self._client.get(redis_schema.PRICES)) or b""
        except _FAULTS as error:
            raise self._failed(f"prices could not be read: {error}") from error

    async def rules(self) -> bytes | None:
        """Return the published rules: empty if there are none, None if nothing has been published at all.

        Raises StoreUnavailable.
        """
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.exists(redis_schema.EPOCH)
                pipeline.get(rules_schema.RULES)
                is_published, rules = await pipeline.execute()
        except _FAULTS as error:
            raise self._failed(f"rules could not be read: {error}") from error
        return cast(bytes | None, rules) or (b"" if is_published else None)

    async def decision(self, request_id: str) -> Decided | None:
        """Return what has been decided about a held request, None for nothing yet. Raises StoreUnavailable."""
        try:
            told = cast(bytes | None, await self._client.get(flow_schema.decided_key(request_id)))
            decided = redis_schema.decode_control(told) if told else None
        except _FAULTS as error:
            raise self._failed(f"a decision could not be looked up: {error}") from error
        return decided if isinstance(decided, Decided) else None

    async def take_edit(self, request_id: str) -> bytes | None:
        """Return what a held request's body is replaced by, and forget it; None if it is not there.

        Raises StoreUnavailable.
        """
        try:
            return cast(bytes | None, await self._client.getdel(flow_schema.edit_key(request_id)))
        except _FAULTS as error:
            raise self._failed(f"an edited body could not be taken: {error}") from error

    async def appear(self, worker: str) -> None:
        """Say that a worker is there, and forget those that were not heard of for long. Raises StoreUnavailable."""
        now_ms = redis_schema.to_ms(datetime.now(UTC))
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.zadd(redis_schema.WORKERS, {worker: now_ms})
                pipeline.zremrangebyscore(redis_schema.WORKERS, "-inf", now_ms - 4 * redis_schema.WORKER_MS)
                await pipeline.execute()
        except _FAULTS as error:
            raise self._failed(f"presence could not be told: {error}") from error

    async def leave(self, worker: str) -> None:
        """Say that a worker is no longer there. Raises StoreUnavailable."""
        try:
            await self._client.zrem(redis_schema.WORKERS, worker)
        except _FAULTS as error:
            raise self._failed(f"leaving could not be told: {error}") from error

    async def is_watched(self) -> bool:
        """Tell whether anybody watches what is in flight. Raises StoreUnavailable."""
        try:
            return bool(await self._client.exists(live_schema.WATCHED))
        except _FAULTS as error:
            raise self._failed(f"watchers could not be looked for: {error}") from error

    async def tell(self, worker: str, snapshot: Snapshot) -> None:
        """Tell what is in flight on a worker. Raises StoreUnavailable."""
        key, told = live_schema.snapshot_key(worker), live_schema.encode_snapshot(snapshot)
        try:
            await self._client.set(key, told, px=live_schema.SNAPSHOT_MS)
        except _FAULTS as error:
            raise self._failed(f"what is in flight could not be told: {error}") from error

    async def feed(self, batch: bytes, most_bytes: int, is_of_strangers: bool = False) -> bool:
        """Append records of flows to one of the two streams, and let its oldest go beyond so many bytes.

        Returns False if the batch alone has more. Raises StoreUnavailable. It does not travel on the line that requests
        wait for.
        """
        keys, arguments = flow_schema.encode_feed(batch, most_bytes, is_of_strangers)
        try:
            return int(await self._scripts["feed"](keys, arguments)) >= 0
        except _FAULTS as error:
            raise self._failed(f"flows could not be told: {error}") from error

    async def hold_record(self, request_id: str, record: bytes, milliseconds: int) -> None:
        """Show what is known of a held request, for so long. Raises StoreUnavailable."""
        try:
            await self._client.set(flow_schema.held_key(request_id), record, px=max(1, milliseconds))
        except _FAULTS as error:
            raise self._failed(f"a held request could not be shown: {error}") from error

    async def drop_record(self, request_id: str) -> None:
        """Show a request no longer, which is not held any more. Raises StoreUnavailable."""
        try:
            await self._client.delete(flow_schema.held_key(request_id))
        except _FAULTS as error:
            raise self._failed(f"a held request could not be forgotten: {error}") from error

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
            raise self._failed(f"a breaker could not be shared: {error}") from error

    async def take_probe(self, subject: str, seconds: float) -> bool:
        """Take the only probe of all workers; True if nobody has it. Raises StoreUnavailable."""
        try:
            key = redis_schema.probe_key(subject)
            return bool(await self._client.set(key, b"1", nx=True, px=round(seconds * 1000)))
        except _FAULTS as error:
            raise self._failed(f"a probe could not be taken: {error}") from error

    async def open_breakers(self) -> list[BreakerChange]:
        """Return the breakers that are not closed. Raises StoreUnavailable."""
        try:
            fields = await self._client.hgetall(redis_schema.BREAKERS)
            changes = [redis_schema.decode_control(cast(bytes, payload)) for payload in fields.values()]
        except _FAULTS as error:
            raise self._failed(f"breakers could not be read: {error}") from error
        return [change for change in changes if isinstance(change, BreakerChange)]

    async def count_refusals(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add up refusals by (project id, code). Raises StoreUnavailable, and then none or all have been added."""
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                for (project_id, code), count in counts.items():
                    pipeline.hincrby(redis_schema.REFUSALS, redis_schema.encode_refusal(project_id, code), count)
                await pipeline.execute()
        except _FAULTS as error:
            raise self._failed(f"refusals could not be counted: {error}") from error

    async def allows_origin(self, origin: str) -> bool:
        """Tell whether any active project lets pages of this origin in. Raises StoreUnavailable."""
        try:
            return bool(await self._client.sismember(redis_schema.CORS_ORIGINS, origin))
        except _FAULTS as error:
            raise self._failed(f"an origin could not be looked up: {error}") from error

    async def are_active(self, callers: Sequence[tuple[str, str]]) -> list[tuple[bool, bool]]:
        """Tell for each (token id, project id) whether token and project are active. Raises StoreUnavailable."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for token_id, project_id in callers:
                    pipeline.hget(redis_schema.identity_key(token_id), "is_active")
                    pipeline.hget(redis_schema.project_key(project_id), "is_active")
                found = [value == b"1" for value in await pipeline.execute()]
        except _FAULTS as error:
            raise self._failed(f"callers could not be looked up: {error}") from error
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
            raise self._failed(f"the control channel is not there: {error}") from error

    async def is_ready(self) -> bool:
        """Tell whether Redis answers and has been published to."""
        try:
            return bool(await self._client.exists(redis_schema.EPOCH))
        except _FAULTS:
            self._note_failure()
            return False

    async def _ping(self) -> None:
        await self._line.call("PING")

    def _not_written(self, reason: str, error: redis.exceptions.ResponseError) -> StoreUnavailable:
        self._note_failure()
        said = str(error)
        if any(word in said for word in _CANNOT_WRITE):
            return StoreCannotWrite(reason)
        return StoreUnavailable(reason)

    def _failed(self, reason: str) -> StoreUnavailable:
        self._note_failure()
        return StoreUnavailable(reason)

    async def done(self) -> None:
        """Close all connections; mitmproxy calls this at the end, after the rooms that stand before."""
        await self._health.close()
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
