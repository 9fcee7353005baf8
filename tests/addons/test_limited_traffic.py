"""Limits as applications meet them: real mitmproxy, real Valkey, and a provider made of bytes."""

import asyncio
import json

import pytest
import redis
from mitmproxy.master import Master

from addons.leases import lost as lost_event
from shared import redis_schema
from shared.holds_schema import decode_hold, encode_settlement
from shared.limits_schema import encode_limits
from shared.models import Amounts, Limit, Measure, OnOutage, Outcome, Policy, Usage, Window
from shared.prices import Price, PriceTable, encode_table
from tests.addons.test_attempts import SSE, Script, header
from tests.addons.test_proxy import PLAIN, Tenant, code_of, exchange, get, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import proxy as proxy  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture
from tests.shared.limit_scripts import shown

PER_DAY = Limit(Measure.TOKENS, Window.DAY, 1000)
IN_MONEY = Limit(Measure.COST, Window.DAY, 10**9)
FORM = "multipart/form-data; boundary=b"


def answered(total: int) -> bytes:
    body = json.dumps({"model": "m", "usage": {"prompt_tokens": 0, "completion_tokens": total, "total_tokens": total}})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body.encode(),
    )


def chat(tenant: Tenant, max_tokens: int, model: str = "m", stream: bool = False) -> bytes:
    body = json.dumps({"model": model, "messages": [], "max_tokens": max_tokens, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {tenant.secret}\r\n"
    return head.encode() + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def post(tenant: Tenant, path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {tenant.secret}\r\ncontent-type: {kind}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def form(**fields: str) -> bytes:
    parts = [f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    return "".join([*parts, "--b--\r\n"]).encode()


async def with_prices(proxy: Master, client: redis.Redis, *models: str) -> None:
    """Publish prices, and wait until they are known."""
    table = PriceTable(tuple(Price("openai", model, prompt=1000, completion=1000) for model in models))
    client.set(redis_schema.PRICES, encode_table(table))
    await proxy.addons.get("pricelist").refresh()


async def used(client: redis.Redis, scope: str, field: str) -> int | None:
    """Return what a counter says when everything that runs has been settled."""
    async with asyncio.timeout(10):
        while client.zcard(redis_schema.OPEN):
            await asyncio.sleep(0.01)
    counter = client.hget(redis_schema.USED_PREFIX + scope, field)
    return None if counter is None else int(shown(counter).partition(":")[2])  # type: ignore[arg-type]


async def test_a_rate_is_refused_with_its_name_and_the_time_to_wait(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(PLAIN, PLAIN)
    async with provided(script) as base_url:
        tenant.publish(base_url, limits=(Limit(Measure.REQUESTS, Window.MINUTE, 2),))
        first, second, third = [await exchange(proxy[1], get(tenant)) for _ in range(3)]

    assert (first.split()[1], second.split()[1]) == (b"200", b"200")
    assert [header(answer, "x-ratelimit-remaining-proxy-requests") for answer in (first, second, third)] == [
        "1",
        "0",
        "0",
    ]
    assert header(first, "x-ratelimit-limit-proxy-requests") == "2"
    assert code_of(third) == (429, "rate_limit_exceeded")
    assert header(third, "retry-after") in ("29", "30")
    assert b"This project's limit of 2 requests per minute" in third
    assert len(script.heads) == 2


async def test_tokens_are_reserved_and_settled_with_what_was_needed(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    script = Script(answered(100), answered(300))
    async with provided(script) as base_url:
        tenant.publish(base_url, token_limits=(PER_DAY,))
        first = await exchange(proxy[1], chat(tenant, 500))
        after_first = await used(redis_client, "token:token-1", "tokens:day")
        too_much = await exchange(proxy[1], chat(tenant, 900))
        after_refusal = await used(redis_client, "token:token-1", "tokens:day")
        second = await exchange(proxy[1], chat(tenant, 800))
        after_second = await used(redis_client, "token:token-1", "tokens:day")

    assert (first.split()[1], second.split()[1]) == (b"200", b"200")
    assert 400 < int(header(first, "x-ratelimit-remaining-proxy-tokens") or 0) < 500
    assert code_of(too_much) == (429, "quota_exceeded") and b"1000 tokens per day" in too_much
    assert (after_first, after_refusal, after_second) == (100, 100, 400)
    assert len(script.heads) == 2


async def test_a_refusal_by_one_limit_takes_nothing_of_the_others(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    rate = Limit(Measure.REQUESTS, Window.DAY, 5)
    async with provided(Script(answered(1))) as base_url:
        tenant.publish(base_url, max_requests=3, limits=(rate,), token_limits=(PER_DAY,))
        for _ in range(6):
            assert code_of(await exchange(proxy[1], chat(tenant, 2000)))[1] == "quota_exceeded"
        answer = await exchange(proxy[1], chat(tenant, 10))

    assert answer.split()[1] == b"200"
    assert header(answer, "x-ratelimit-remaining-proxy-requests") == "2"
    assert redis_client.hget(redis_schema.token_key(tenant.digest), "requests") == b"1"


async def test_what_a_policy_refuses_takes_nothing_of_a_budget(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    async with provided(Script()) as base_url:
        tenant.publish(base_url, policy=Policy(denied_models=("m",)), token_limits=(PER_DAY,))
        answer = await exchange(proxy[1], chat(tenant, 10))

    assert code_of(answer) == (403, "model_not_allowed")
    assert await used(redis_client, "token:token-1", "tokens:day") is None and tenant.events() == []


async def test_of_concurrent_requests_only_so_many_run(proxy: tuple[Master, int], tenant: Tenant) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        running.set()
        await go_on.wait()
        writer.write(PLAIN)
        writer.close()

    async with provided(slow) as base_url:
        tenant.publish(base_url, token_limits=(Limit(Measure.CONCURRENT, Window.LIFE, 1),))
        first = asyncio.create_task(exchange(proxy[1], get(tenant)))
        await running.wait()
        second = await exchange(proxy[1], get(tenant))
        go_on.set()
        assert (await first).split()[1] == b"200"
        async with asyncio.timeout(10):
            while (third := await exchange(proxy[1], get(tenant))).split()[1] != b"200":
                await asyncio.sleep(0.02)

    assert code_of(second) == (429, "rate_limit_exceeded") and b"1 requests at the same time" in second
    assert third.split()[1] == b"200"


async def test_a_stream_that_outruns_its_budget_ends_with_an_error(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    piece = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SSE)
        try:
            while True:
                writer.write(chunk * 20)
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            writer.close()

    async with provided(endless) as base_url:
        tenant.publish(base_url, token_limits=(Limit(Measure.TOKENS, Window.LIFE, 500),))
        answer = await asyncio.wait_for(exchange(proxy[1], chat(tenant, 50, stream=True)), 20)
        total = await used(redis_client, "token:token-1", "tokens:life")

    event = await tenant.event()
    assert b'"code":"quota_exceeded"' in answer and answer.endswith(b"0\r\n\r\n")
    assert event.outcome is Outcome.CUT and event.usage.is_estimate and event.usage.total_tokens == total
    assert total is not None and 500 <= total < 2000


async def test_a_stream_that_was_taken_for_lost_goes_on_within_its_budget(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    piece = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    held = dict[bytes, bytes]()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        held.update(redis_client.hgetall(redis_schema.HOLDS))  # type: ignore[arg-type]
        settle_as_lost(redis_client, *held.values())
        writer.write(SSE + chunk * 200)
        async with asyncio.timeout(10):
            while not redis_client.hlen(redis_schema.HOLDS):
                await asyncio.sleep(0.01)
        writer.write(chunk * 100 + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with provided(slow) as base_url:
        tenant.publish(base_url, token_limits=(Limit(Measure.TOKENS, Window.LIFE, 1000),))
        answer = await asyncio.wait_for(exchange(proxy[1], chat(tenant, 50, stream=True)), 20)
        total = await used(redis_client, "token:token-1", "tokens:life")

    lost, ended = tenant.events()
    assert answer.count(b"word") == 300 and len(held) == 1
    assert (lost.outcome, ended.request_id) == (Outcome.LOST, lost.request_id)
    assert ended.usage.total_tokens == total and total is not None and total >= 300


def settle_as_lost(client: redis.Redis, hold: bytes) -> None:
    """Settle a running request as another worker would that takes it for lost."""
    keys, arguments = encode_settlement(hold, lost_event(decode_hold(hold)), Amounts(3, 0))
    client.eval(redis_schema.script("settle"), len(keys), *keys, *arguments)


async def test_a_request_that_is_not_served_gives_back_what_it_reserved(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    refused = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    async with provided(Script(refused)) as base_url:
        tenant.publish(base_url, token_limits=(PER_DAY,))
        answer = await exchange(proxy[1], chat(tenant, 900))

    assert answer.split()[1] == b"400"
    assert await used(redis_client, "token:token-1", "tokens:day") == 0


@pytest.mark.parametrize("limit", [PER_DAY, IN_MONEY], ids=["tokens", "money"])
@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/files", form(purpose="batch"), FORM),
        ("/v1/responses/input_tokens", b'{"model":"m","input":"x"}', "application/json"),
        ("/v1/moderations", b'{"model":"m","input":"x"}', "application/json"),
        ("/v1/vector_stores", b"{}", "application/json"),
        ("/v1/chat/completions/c-1", b'{"metadata":{}}', "application/json"),
        ("/v1/responses/r-1/cancel", b"", "application/json"),
    ],
)
async def test_what_costs_nothing_passes_every_budget_and_is_charged_nothing(
    proxy: tuple[Master, int],
    tenant: Tenant,
    redis_client: redis.Redis,
    limit: Limit,
    path: str,
    body: bytes,
    kind: str,
) -> None:
    async with provided(Script(answered(4000))) as base_url:
        tenant.publish(base_url, token_limits=(limit,))
        answer = await exchange(proxy[1], post(tenant, path, body, kind))

    assert answer.split()[1] == b"200"
    assert await used(redis_client, "token:token-1", f"{limit.measure}:day") in (None, 0)
    assert (await tenant.event()).usage == Usage()


async def test_a_websocket_and_an_upload_are_priced_by_the_model_they_name(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    await with_prices(proxy[0], redis_client, "gpt-realtime", "whisper-1")
    upgrade = (
        f"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {tenant.secret}\r\n"
    )
    upgrade += "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    upgrade += "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    upload = form(model="whisper-1", file="x" * (300 << 10))
    unknown = form(model="unheard-of", file="x" * (300 << 10))

    async with provided(Script(answered(1), answered(1))) as base_url:
        tenant.publish(base_url, token_limits=(IN_MONEY,))
        talk = await exchange(proxy[1], upgrade.encode())
        first = await tenant.event()
        heard, refused = [
            await exchange(proxy[1], post(tenant, "/v1/audio/transcriptions", body, FORM)) for body in (upload, unknown)
        ]

    assert talk.split()[1] == heard.split()[1] == b"200" and first.model_asked == "gpt-realtime"
    assert code_of(refused) == (403, "model_not_priced")


async def test_a_bound_that_comes_twice_is_refused(proxy: tuple[Master, int], tenant: Tenant) -> None:
    body = b'{"model": "m", "messages": [], "max_tokens": 900, "max_tokens": 1}'
    async with provided(Script(answered(1))) as base_url:
        tenant.publish(base_url, token_limits=(PER_DAY,))
        limited = await exchange(proxy[1], post(tenant, "/v1/chat/completions", body))
        tenant.publish(base_url)
        free = await exchange(proxy[1], post(tenant, "/v1/chat/completions", body))

    assert code_of(limited) == (400, "invalid_request") and free.split()[1] == b"200"


async def test_answers_beyond_all_numbers_are_denied_by_the_limit(proxy: tuple[Master, int], tenant: Tenant) -> None:
    body = b'{"model": "m", "messages": [], "max_tokens": %d, "n": %d}' % (1 << 40, 1 << 40)
    async with provided(Script()) as base_url:
        tenant.publish(base_url, token_limits=(PER_DAY,))
        answer = await exchange(proxy[1], post(tenant, "/v1/chat/completions", body))

    assert code_of(answer) == (429, "quota_exceeded")


async def test_a_limit_of_all_projects_counts_for_each(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    redis_client.set(redis_schema.GLOBAL_LIMITS, encode_limits([Limit(Measure.REQUESTS, Window.LIFE, 1)]))
    async with provided(Script(PLAIN)) as base_url:
        tenant.publish(base_url)
        first, second = [await exchange(proxy[1], get(tenant)) for _ in range(2)]

    assert first.split()[1] == b"200" and code_of(second) == (429, "quota_exceeded")
    assert b"This proxy's limit of 1 requests in all" in second and header(second, "retry-after") is None


async def test_while_redis_has_no_room_each_limit_says_what_holds(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    def limits(on_outage: OnOutage) -> tuple[Limit, ...]:
        return (Limit(Measure.REQUESTS, Window.DAY, 100, on_outage=on_outage),)

    async with provided(Script(PLAIN)) as base_url:
        tenant.publish(base_url, limits=limits(OnOutage.CLOSED))
        redis_client.config_set("maxmemory", 1)
        try:
            closed = await exchange(proxy[1], get(tenant))
            redis_client.config_set("maxmemory", 0)
            tenant.publish(base_url, limits=limits(OnOutage.OPEN), token_limits=())
            redis_client.config_set("maxmemory", 1)
            opened = await exchange(proxy[1], get(tenant))
        finally:
            redis_client.config_set("maxmemory", 0)
        event = await tenant.event()

    assert code_of(closed) == (503, "service_unavailable")
    assert opened.split()[1] == b"200" and event.outcome is Outcome.FINISHED and event.sequence == 0
