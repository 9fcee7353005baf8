"""What the feed has of requests through real proxies: how each went on and ended, and nowhere a secret."""

import asyncio
import json
from collections.abc import Callable

import pytest
import redis
from mitmproxy.master import Master

from shared import tokens
from shared.flow_schema import FLOWS, FLOWS_BYTES, STRANGERS, FlowRecord, Phase, decode_batch
from shared.inspection import Capture, Hidden, Inspection
from tests.addons.test_proxy import KEY, PLAIN, Tenant, answering, exchange, post, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import proxy as proxy  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

type Proxy = tuple[Master, int]

EMAIL = "jane.doe@clinic.example"
FULL = Inspection(Capture.FULL, hidden=(Hidden.EMAILS,))
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ECHO = f"{EMAIL} {KEY}"
COOKIE = "a-cookie-of-somebody"


class Reader:
    """Reads the feed as an inspector does: of each request the newest record counts."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def all(self) -> list[FlowRecord]:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = [
            *self._redis.xrange(FLOWS),  # type: ignore[misc]
            *self._redis.xrange(STRANGERS),  # type: ignore[misc]
        ]
        return [record for _, entry in entries for record in decode_batch(entry)]

    def raw(self) -> bytes:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = self._redis.xrange(FLOWS)  # type: ignore[assignment]
        return b"".join([part for _, entry in entries for part in entry.values()])

    async def ended(self, count: int = 1) -> list[FlowRecord]:
        """The last records of so many requests."""
        return await self.those(lambda record: record.phase is Phase.ENDED, count)

    async def those(self, condition: Callable[[FlowRecord], bool], count: int = 1) -> list[FlowRecord]:
        async with asyncio.timeout(10):
            while len(found := [record for record in self.all() if condition(record)]) < count:
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
def feed(redis_client: redis.Redis) -> Reader:
    return Reader(redis_client)


def chat(tenant: Tenant, stream: bool = False) -> bytes:
    said = f"mail {EMAIL} with {KEY} or {tenant.secret}"
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": said}], "stream": stream}
    return post(
        tenant,
        json.dumps(body).encode(),
        f"Content-Type: application/json\r\nX-Note: for {EMAIL}\r\nCookie: {COOKIE}\r\n",
    )


def piece(content: str) -> bytes:
    event = {"id": "c", "choices": [{"index": 0, "delta": {"content": content}}]}
    text = f"data: {json.dumps(event)}\n\n".encode()
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


def hides_all(feed: Reader, tenant: Tenant) -> bool:
    return not any(secret.encode() in feed.raw() for secret in (EMAIL, KEY, COOKIE, tenant.secret))


async def test_a_chat_is_told_of_with_what_it_cost_and_hides_nothing_from_the_provider(
    proxy: Proxy, tenant: Tenant, feed: Reader
) -> None:
    answer = json.dumps({
        "model": "gpt-4o-2024",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ECHO}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }).encode()  # fmt: skip
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-echo: {ECHO}\r\nset-cookie: id={COOKIE}\r\n"
    head += f"content-length: {len(answer)}\r\n\r\n"
    async with provided(answering(head.encode(), answer)) as base_url:
        tenant.publish(base_url, inspection=FULL, name="clinic")
        got = await exchange(proxy[1], chat(tenant))
        [record] = await feed.ended()

    assert ECHO.encode() in got
    assert (record.project_name, record.token_label, record.route) == ("clinic", "label", "chat.completions")
    assert (record.status, record.outcome, record.model) == (200, "finished", "gpt-4o-2024")
    assert (record.prompt_tokens, record.completion_tokens, record.attempts) == (3, 4, 1)
    assert record.url == f"{base_url}/v1/chat/completions"
    assert b"[email]" in (record.request.body or b"")
    assert record.response is not None and b"[email]" in (record.response.body or b"")
    assert ("cookie", "****") in [(name.lower(), value) for name, value in record.request.headers]
    assert hides_all(feed, tenant)


async def test_a_stream_is_told_of_as_it_grows_and_what_is_split_is_hidden(
    proxy: Proxy, tenant: Tenant, feed: Reader
) -> None:
    goes_on, first = asyncio.Event(), [piece("ask jane.d"), piece("oe@clinic.ex"), piece("ample, and then ")]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SSE + b"".join(first))
        await goes_on.wait()
        writer.write(piece("the end") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with provided(answer) as base_url:
        tenant.publish(base_url, inspection=FULL)
        asking = asyncio.create_task(exchange(proxy[1], chat(tenant, stream=True)))
        [growing, *_] = await feed.those(lambda record: record.phase is Phase.STREAMING and record.chunks > 0)
        goes_on.set()
        await asking
        [record] = await feed.ended()

    assert growing.request_id == record.request_id and growing.revision < record.revision
    assert growing.duration_ms is None and record.duration_ms is not None and record.is_stream
    body = record.response.body if record.response else None
    assert body is not None and b"ask [email], and then the end" in body
    assert hides_all(feed, tenant)


async def test_who_was_not_let_in_is_told_of_without_body(proxy: Proxy, tenant: Tenant, feed: Reader) -> None:
    tenant.publish("http://provider")
    unknown, body = tokens.generate(), json.dumps({"model": EMAIL}).encode()
    head = f"POST /v1/chat/completions?key={KEY} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {unknown}\r\n"
    await exchange(proxy[1], f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    [record] = await feed.ended()

    assert (record.project_id, record.token_id, record.outcome, record.has_bodies) == ("", "", "refused", False)
    assert (record.status, record.error_code) == (401, "token_not_found")
    assert "?" not in record.url and record.request.body is None
    assert unknown.encode() not in feed.raw() and hides_all(feed, tenant)


async def test_an_answer_that_breaks_off_is_told_of_as_far_as_it_came(
    proxy: Proxy, tenant: Tenant, feed: Reader
) -> None:
    async with provided(answering(SSE, piece(f"half of {ECHO}, "), piece("and more"))) as base_url:
        tenant.publish(base_url, inspection=FULL)
        await exchange(proxy[1], chat(tenant, stream=True))
        [record] = await feed.ended()

    assert (record.outcome, record.status) == ("upstream_aborted", 200) and record.error_code
    assert record.response is not None and b"half of [email]" in (record.response.body or b"")
    assert hides_all(feed, tenant)


async def test_an_upload_is_told_of_by_its_size(proxy: Proxy, tenant: Tenant, feed: Reader) -> None:
    content = (f"{EMAIL} {KEY} ".encode() * 20_000)[: 1 << 20]
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + content + b"\r\n--b--\r\n"
    head = f"POST /v1/files HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {tenant.secret}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n\r\n"
    received = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        while received < len(form) and (chunk := await reader.read(65536)):
            received += len(chunk)
        writer.write(PLAIN)
        await writer.drain()
        writer.close()

    async with provided(answer) as base_url:
        tenant.publish(base_url, inspection=FULL)
        await exchange(proxy[1], head.encode() + form)
        [record] = await feed.ended()

    assert received >= len(form)
    assert record.status == 200 and record.route.startswith("files")
    assert record.request.size == len(form) and record.request.is_cut
    assert len(record.request.body or b"") < 64 << 10
    assert hides_all(feed, tenant)


@pytest.mark.parametrize("capture", [Capture.OFF, Capture.METADATA])
async def test_a_project_is_told_of_as_it_wants(
    proxy: Proxy, tenant: Tenant, feed: Reader, capture: Capture, redis_client: redis.Redis
) -> None:
    async with provided(answering(PLAIN)) as base_url:
        tenant.publish(base_url, inspection=Inspection(capture))
        await exchange(proxy[1], chat(tenant))
        await tenant.event()
        await exchange(proxy[1], b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n")
        await feed.those(lambda record: record.outcome == "refused")

    told = [record for record in feed.all() if record.project_id]
    assert bool(told) is (capture is Capture.METADATA)
    assert all(not record.has_bodies and record.request.body is None for record in told)
    assert int(redis_client.get(FLOWS_BYTES) or 0) == len(feed.raw())  # type: ignore[arg-type]
