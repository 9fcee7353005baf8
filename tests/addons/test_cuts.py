"""Rules of cutting one request, under both runners: seen in flight by its id, ended with a reason, others go on."""

import asyncio
from collections.abc import Callable

import pytest
import redis
from mitmproxy.master import Master

from addons.presence import own_name
from shared import live_schema, redis_schema
from shared.live_schema import RunningRequest, State
from shared.models import Outcome
from shared.redis_schema import Cut
from tests.addons.test_attempts import EVENT, SSE, Script, told
from tests.addons.test_attempts import proxy as proxy  # a fixture
from tests.addons.test_proxy import CHAT, PLAIN, STREAM, Tenant, code_of, exchange, get, post
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

CUT_SECONDS = 1.0


class Watcher:
    """Somebody who watches, and cuts."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        client.set(live_schema.WATCHED, 1)

    async def sees(self, state: State, count: int = 1) -> list[RunningRequest]:
        """Requests in flight, once there are so many in a state."""
        async with asyncio.timeout(10):
            while True:
                found = [request for request in self._told() if request.state is state]
                if len(found) == count:
                    return found
                await asyncio.sleep(0.01)

    def _told(self) -> list[RunningRequest]:
        told = self._client.get(live_schema.snapshot_key(own_name()))
        return live_schema.decode_snapshot(told).requests if told else []

    def cut(self, request_id: str) -> None:
        self._client.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(Cut(request_id)))


@pytest.fixture
def watcher(redis_client: redis.Redis, configuration: object) -> Watcher:
    return Watcher(redis_client)


async def test_a_silent_stream_ends_with_an_error_event_and_the_other_goes_on(
    proxy: tuple[Master, int], tenant: Tenant, watcher: Watcher
) -> None:
    go_on = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SSE)
        while not go_on.is_set() and not writer.is_closing():
            writer.write(EVENT)
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        writer.close()

    async with told(tenant, drip):
        running = [asyncio.create_task(exchange(proxy[1], post(tenant, STREAM))) for _ in range(2)]
        first, second = await watcher.sees(State.STREAMING, 2)
        assert (first.project_id, first.token_id, first.token_label) == ("project-1", "token-1", "label")
        assert (first.route, first.model, first.is_stream) == ("chat.completions", "m", True)
        assert first.started_at <= second.started_at and first.chunks > 0 and first.response_bytes > 0

        watcher.cut(first.request_id)
        done, _ = await asyncio.wait(running, timeout=CUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        watcher.cut(first.request_id)
        watcher.cut("unknown")
        await asyncio.sleep(0.1)
        go_on.set()
        cut, whole = sorted(await asyncio.gather(*running), key=lambda answer: b"request_cut" not in answer)

    assert len(done) == 1
    assert EVENT in cut and b"An operator has ended this request." in cut and cut.endswith(b"0\r\n\r\n")
    assert b"error" not in whole
    async with asyncio.timeout(5):
        while len(tenant.events()) < 2:
            await asyncio.sleep(0.01)
    ends = {event.request_id: (event.outcome, event.status, event.error_code) for event in tenant.events()}
    assert ends == {
        first.request_id: (Outcome.CUT, 200, "request_cut"),
        second.request_id: (Outcome.FINISHED, 200, None),
    }


@pytest.mark.parametrize(
    "ask",
    [lambda tenant: get(tenant, "/v1/patient"), lambda tenant: post(tenant, CHAT)],
    ids=["waits", "is tried again"],
)
async def test_a_request_that_waits_for_its_provider_is_told_so(
    proxy: tuple[Master, int], tenant: Tenant, watcher: Watcher, ask: Callable[[Tenant], bytes]
) -> None:
    busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nretry-after: 4\r\n\r\nbusy"
    script = Script(b"" if b"patient" in ask(tenant) else busy, PLAIN)
    async with told(tenant, script):
        waiting = asyncio.create_task(exchange(proxy[1], ask(tenant)))
        [seen] = await watcher.sees(State.WAITING)
        watcher.cut(seen.request_id)
        answer = await asyncio.wait_for(waiting, CUT_SECONDS)

    assert code_of(answer) == (403, "request_cut") and len(script.heads) == 1
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.CUT, 403, "request_cut")


async def test_a_body_that_has_begun_never_looks_whole(
    proxy: tuple[Master, int], tenant: Tenant, watcher: Watcher
) -> None:
    async with told(tenant, Script(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")):
        running = asyncio.create_task(exchange(proxy[1], get(tenant, "/v1/patient")))
        [seen] = await watcher.sees(State.STREAMING)
        watcher.cut(seen.request_id)
        answer = await asyncio.wait_for(running, CUT_SECONDS)

    assert answer.endswith(b"half") and b"content-length: 100" in answer.lower()
    assert (await tenant.event()).outcome is Outcome.CUT
