"""The door to Redis: scripts come back after a restart, and a server that does not answer is not asked by everybody."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import pytest
import redis

from addons.settlement import Settlement
from addons.store import Store, StoreCannotWrite, StoreUnavailable
from shared import redis_schema
from shared.holds_schema import NotExtended, OpenRequest
from shared.models import Amounts, Caller, Denial, Limit, Measure, Outcome, Usage, UsageEvent, Window
from shared.redis_schema import Denied
from tests.addons.test_proxy import Tenant
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture
from tests.shared.limit_scripts import shown

PER_DAY = Limit(Measure.TOKENS, Window.DAY, 100)


@pytest.fixture
async def store(valkey_url: str, redis_client: redis.Redis) -> AsyncIterator[Store]:
    made = Store.connect(valkey_url, 5000)
    yield made
    await made.done()


def event(moment: datetime, request_id: str) -> UsageEvent:
    return UsageEvent(
        request_id, moment, "project-1", "token-1", "key-1", 1, "openai", "models", "GET", None, 200, Outcome.FINISHED,
        None, False, 1, 0, 2, 1.0, 0.5, Usage(),
    )  # fmt: skip


async def admitted(store: Store, tenant: Tenant, moment: datetime, number: int, tokens: int) -> bytes:
    request = OpenRequest(f"request-{number}", moment, "openai", "chat.completions", "POST")
    caller = await store.admit(tenant.digest, ["openai"], Amounts(tokens, 0), request)
    assert isinstance(caller, Caller) and caller.hold is not None
    return caller.hold


async def test_a_request_is_admitted_extended_renewed_and_settled_by_a_server_that_knows_no_scripts(
    store: Store, tenant: Tenant, redis_client: redis.Redis, moment: datetime
) -> None:
    tenant.publish("http://provider", token_limits=(PER_DAY,))
    redis_client.script_flush()
    hold = await admitted(store, tenant, moment, 1, 40)
    redis_client.script_flush()
    extended = await store.extend(hold, Amounts(60, 0))
    redis_client.script_flush()
    assert isinstance(extended, bytes) and await store.renew(["request-1"]) == []
    refused = await store.extend(extended, Amounts(101, 0))
    redis_client.script_flush()
    await store.settle([Settlement(event(moment, "request-1"), extended, Amounts(30, 0))])

    assert isinstance(refused, NotExtended) and refused.limit is not None and refused.limit.remaining == 40
    assert shown(redis_client.hget(f"{redis_schema.USED_PREFIX}token:token-1", "tokens:day")).endswith(":30")  # type: ignore[arg-type]
    assert [each.request_id for each in tenant.events()] == ["request-1"] and not redis_client.zcard(redis_schema.OPEN)


async def test_a_look_takes_nothing(store: Store, tenant: Tenant, redis_client: redis.Redis) -> None:
    tenant.publish("http://provider", token_limits=(PER_DAY,), max_requests=2)

    seen = [await store.peek(tenant.digest, ["openai"]) for _ in range(3)]

    assert all(isinstance(caller, Caller) and caller.is_pending for caller in seen)
    assert [[limit for _, limit in caller.limits] for caller in seen if isinstance(caller, Caller)] == [
        [Limit(Measure.REQUESTS, Window.LIFE, 2), PER_DAY]
    ] * 3
    assert redis_client.hget(redis_schema.token_key(tenant.digest), "requests") == b"0"


async def test_a_server_without_room_says_so_and_is_not_given_up(
    store: Store, tenant: Tenant, redis_client: redis.Redis
) -> None:
    tenant.publish("http://provider")
    redis_client.config_set("maxmemory", 1)
    try:
        for _ in range(2):
            with pytest.raises(StoreCannotWrite):
                await store.admit(tenant.digest, ["openai"])
            assert isinstance(await store.peek(tenant.digest, ["openai"]), Caller)
    finally:
        redis_client.config_set("maxmemory", 0)

    assert isinstance(await store.admit(tenant.digest, ["openai"]), Caller)


async def test_an_unknown_token_costs_one_round_trip(store: Store, redis_client: redis.Redis) -> None:
    redis_client.set(redis_schema.EPOCH, "epoch")

    denied = await store.admit("nobody's digest", ["openai"])

    assert isinstance(denied, Denied) and denied.reason is Denial.TOKEN_NOT_FOUND


async def test_a_server_that_does_not_answer_keeps_one_caller_waiting_and_then_nobody(
    valkey_url: str, tenant: Tenant, redis_client: redis.Redis
) -> None:
    tenant.publish("http://provider")
    store = Store.connect(valkey_url, 100)
    assert isinstance(await store.admit(tenant.digest, ["openai"]), Caller)
    redis_client.client_pause(1500, all=True)
    with pytest.raises(StoreUnavailable, match="admission failed"):
        await store.admit(tenant.digest, ["openai"])
    for _ in range(20):
        with pytest.raises(StoreUnavailable, match="Redis does not answer"):
            await store.admit(tenant.digest, ["openai"])

    async with asyncio.timeout(10):
        while True:
            try:
                admitted_again = await store.admit(tenant.digest, ["openai"])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)
    await store.done()

    # The first, the one that waited, and the last.
    assert isinstance(admitted_again, Caller) and admitted_again.sequence <= 3


async def test_settlements_that_came_before_a_failure_do_no_harm_when_they_come_again(
    store: Store, tenant: Tenant, redis_client: redis.Redis, moment: datetime
) -> None:
    tenant.publish("http://provider", token_limits=(PER_DAY,))
    hold = await admitted(store, tenant, moment, 1, 40)
    settlement = Settlement(event(moment, "request-1"), hold, Amounts(10, 0))

    await store.settle([settlement, replace(settlement), settlement])

    assert shown(redis_client.hget(f"{redis_schema.USED_PREFIX}token:token-1", "tokens:day")).endswith(":10")  # type: ignore[arg-type]


# About half a second in which the server answers nobody.
STALL = "local x = 0 for i = 1, 60000000 do x = x + i end return x"


async def test_what_was_extended_while_nobody_heard_of_it_is_settled(
    valkey_url: str, tenant: Tenant, redis_client: redis.Redis, moment: datetime
) -> None:
    tenant.publish("http://provider", token_limits=(PER_DAY,))
    for name in ("extend", "settle", "leases"):
        redis_client.script_load(redis_schema.script(name))
    store = Store.connect(valkey_url, 100)
    hold = await admitted(store, tenant, moment, 1, 10)
    stall = asyncio.create_task(asyncio.to_thread(redis_client.eval, STALL, 0))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable, match="extension failed"):
        await store.extend(hold, Amounts(60, 0))
    with pytest.raises(StoreUnavailable, match="Redis does not answer"):
        await store.renew(["request-1"])
    with pytest.raises(StoreUnavailable, match="Redis does not answer"):
        await store.settle([Settlement(event(moment, "request-1"), hold, Amounts(90, 0))])
    await stall

    async with asyncio.timeout(10):
        while True:
            try:
                again = await store.extend(hold, Amounts(70, 0))
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)
    await store.settle([Settlement(event(moment, "request-1"), hold, Amounts(90, 0))])
    await store.done()

    assert isinstance(again, bytes) and not redis_client.zcard(redis_schema.OPEN)
    assert shown(redis_client.hget(f"{redis_schema.USED_PREFIX}token:token-1", "tokens:day")).endswith(":90")  # type: ignore[arg-type]


async def test_a_hold_that_nobody_can_read_is_set_aside(store: Store, redis_client: redis.Redis) -> None:
    redis_client.hset(redis_schema.HOLDS, "request-1", b"nonsense")

    await store.bury("request-1", b"nonsense", "unreadable")

    [(_, letter)] = redis_client.xrange(redis_schema.USAGE_DEAD_LETTERS)
    assert letter[b"event"] == b"nonsense" and not redis_client.hlen(redis_schema.HOLDS)


async def test_a_request_of_a_secret_that_was_replaced_counts_as_active_until_its_token_is_revoked(
    store: Store, tenant: Tenant, redis_client: redis.Redis
) -> None:
    tenant.publish("http://provider")
    redis_client.delete(redis_schema.token_key(tenant.digest))
    callers = [("token-1", "project-1"), ("token-2", "project-1")]
    before = await store.are_active(callers)

    tenant.revoke("token")

    assert (before, await store.are_active(callers)) == ([(True, True), (False, True)], [(False, True), (False, True)])
