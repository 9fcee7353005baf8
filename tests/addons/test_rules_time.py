"""Holding against the time-outs of a route: the one for the whole request ends a wait, the others begin after it."""

import asyncio
import time

from mitmproxy.master import Master
from pytest import fixture
from redis import Redis

from shared.models import Outcome
from shared.rules_schema import Action, Rule
from tests.addons.test_attempts import proxy as proxy  # a fixture
from tests.addons.test_proxy import CHAT, Tenant, code_of, exchange, get, post
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture
from tests.addons.test_rules import Operator, providing

HOLD = Rule("1", "keep", "~all", Action.HOLD, hold_seconds=30)


@fixture
def operator(redis_client: Redis, proxy: tuple[Master, int]) -> Operator:
    return Operator(redis_client, proxy[0])


async def test_the_time_of_the_whole_request_ends_a_wait(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(HOLD)
    async with providing(tenant) as provider:
        started = time.monotonic()
        answer = await exchange(proxy[1], get(tenant, "/v1/slow"))

    assert 0.4 < time.monotonic() - started < 20
    assert code_of(answer) == (504, "upstream_timeout") and provider.bodies == []
    assert (await tenant.event()).outcome in (Outcome.REFUSED, Outcome.UPSTREAM_ABORTED)


async def test_the_time_to_the_first_byte_begins_when_a_request_goes_out(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(HOLD)
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        await asyncio.sleep(0.6)  # Twice the time that the route has for it.
        operator.resume(seen.request_id)
        answer = await waiting

    assert answer.split()[1] == b"200" and provider.bodies == [CHAT]
