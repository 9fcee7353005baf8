"""Holding over HTTP/2: a held stream keeps no other of its connection waiting, and is edited, refused or left alone."""

import asyncio
import json

import httpx2
import pytest
import redis
import trustme
from mitmproxy.master import Master

from shared.models import Outcome
from tests.addons.test_proxy import Tenant
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture
from tests.addons.test_rules import Operator, chat, hold, providing
from tests.addons.test_tls import Rude
from tests.addons.test_tls import authority as authority  # a fixture
from tests.addons.test_tls import client as client  # a fixture
from tests.addons.test_tls import proxy as proxy  # a fixture

PATH = "/v1/chat/completions"


@pytest.fixture
async def operator(redis_client: redis.Redis, proxy: tuple[Master, int]) -> Operator:
    made = Operator(redis_client, proxy[0])
    await made.rules(hold(filter="~bq secret | ~bq stream"))
    return made


async def test_others_of_its_connection_pass_while_one_is_held_and_edited(
    client: httpx2.AsyncClient, tenant: Tenant, operator: Operator
) -> None:
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(client.post(PATH, content=chat("a secret")))
        [seen] = await operator.held()
        others = await asyncio.gather(*(client.post(PATH, content=chat(f"plan {number}")) for number in range(20)))
        edited = chat("something much longer than what was asked at first")
        operator.resume(seen.request_id, edited)
        answer = await asyncio.wait_for(waiting, 20)

    assert {(each.status_code, each.http_version) for each in (*others, answer)} == {(200, "HTTP/2")}
    assert provider.bodies[-1] == edited and len(provider.bodies) == 21


async def test_a_refusal_reaches_its_stream_alone(
    client: httpx2.AsyncClient, tenant: Tenant, operator: Operator
) -> None:
    async with providing(tenant) as provider:
        waiting = [asyncio.create_task(client.post(PATH, content=chat(f"secret {number}"))) for number in range(2)]
        first, second = await operator.held(2)
        operator.refuse(first.request_id)
        operator.resume(second.request_id)
        answers = await asyncio.gather(*waiting)

    assert sorted(each.status_code for each in answers) == [200, 403] and len(provider.bodies) == 1
    [refused] = [each for each in answers if each.status_code == 403]
    assert json.loads(refused.content)["error"]["code"] == "request_refused"


async def test_a_held_stream_that_its_client_resets_never_goes_out(
    proxy: tuple[Master, int], client: httpx2.AsyncClient, tenant: Tenant, operator: Operator, authority: trustme.CA
) -> None:
    rude = Rude(tenant.secret)
    rude.ask(1)
    async with providing(tenant) as provider:
        writer = await rude.send(proxy[1], authority)
        [seen] = await operator.held()
        rude.take_back(1)
        await rude.send_more(writer)
        event = await tenant.event()
        operator.resume(seen.request_id)
        answer = await client.post(PATH, content=chat("a plan"))
        writer.close()

    assert (event.request_id, event.outcome) == (seen.request_id, Outcome.CLIENT_ABORTED)
    assert answer.status_code == 200 and provider.bodies == [chat("a plan")]
