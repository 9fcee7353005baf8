"""Rules of presence: a worker is heard of again and again while it is there, and no longer when it has left."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import redis

from addons.presence import Presence
from addons.store import Store, StoreUnavailable
from shared import redis_schema


@pytest.fixture
async def store(valkey_url: str, redis_client: redis.Redis) -> AsyncIterator[Store]:
    """The door to an emptied Valkey."""
    made = Store.connect(valkey_url, 1000)
    yield made
    await made.done()


async def test_a_worker_is_there_until_it_leaves(store: Store, redis_client: redis.Redis) -> None:
    room = Presence(store, "host:1", pause_seconds=0.001)
    before = redis_schema.to_ms(datetime.now(UTC))

    room.running()
    first = await seen(redis_client, "host:1", before)
    second = await seen(redis_client, "host:1", first + 1)
    await room.done()

    assert before <= first < second and redis_client.zcard(redis_schema.WORKERS) == 0


async def seen(client: redis.Redis, name: str, after: float) -> float:
    """When a worker was heard of at a moment or later."""
    async with asyncio.timeout(5):
        while True:
            score = client.zscore(redis_schema.WORKERS, name)
            if score is not None and score >= after:
                return float(score)
            await asyncio.sleep(0.001)


async def test_workers_that_were_killed_are_forgotten(store: Store, redis_client: redis.Redis) -> None:
    redis_client.zadd(redis_schema.WORKERS, {"host:0": 1, "host:2": redis_schema.to_ms(datetime.now(UTC))})

    await store.appear("host:1")

    assert set(redis_client.zrange(redis_schema.WORKERS, 0, -1)) == {b"host:1", b"host:2"}


async def test_without_redis_nothing_is_said_and_nothing_fails() -> None:
    away = Store.connect("unix:///nobody/listens/here.sock", 100)
    room = Presence(away, "host:1", pause_seconds=0.001)

    room.running()
    await asyncio.sleep(0.01)
    await room.done()

    with pytest.raises(StoreUnavailable):
        await away.appear("host:1")
    await away.done()
