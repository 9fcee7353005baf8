"""Failed attempts, time-outs and cuts, run inside the test: real mitmproxy, real Valkey, providers made of bytes."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from mitmproxy.master import Master

from shared import redis_schema, settings
from shared.models import Outcome
from tests.addons.test_proxy import (
    ADDONS,
    CHAT,
    PLAIN,
    STREAM,
    Provider,
    Tenant,
    code_of,
    exchange,
    get,
    post,
    provided,
    proxying,
)
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

TABLE = """
[providers.openai]
base_url = "https://api.openai.com"
dialect = "openai"
credential = { header = "authorization", scheme = "Bearer" }
timeouts = { connect = 1, first_byte = 0.3, idle = 0.3, total = 0 }
retry = { attempts = 3, within = 5, posts = ["chat.completions"] }
routes = [
    { name = "models", path = "/v1/models", methods = ["GET"] },
    { name = "chat.completions", path = "/v1/chat/completions", methods = ["POST"] },
    { name = "batches", path = "/v1/batches", methods = ["POST"] },
    { name = "slow", path = "/v1/slow", methods = ["GET"], timeouts = { first_byte = 0, idle = 0, total = 0.5 } },
    { name = "patient", path = "/v1/patient", methods = ["GET"], timeouts = { first_byte = 0, idle = 0 } },
    { name = "realtime", path = "/v1/realtime", methods = ["GET"], upgrade = "websocket" },
    { name = "unbounded", path = "/v1/unbounded", methods = ["POST"], body = "any", max_body_bytes = 1_000_000_000 },
    { name = "files", path = "/v1/files", methods = ["POST"], body = "any", max_body_bytes = 8_000_000 },
]
"""
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
EVENT = b"a\r\ndata: {}\n\n\r\n"
Answer = Callable[[bytes, asyncio.StreamWriter], object]


@pytest.fixture
async def proxy(
    configuration: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[Master, int]]:
    """A proxy with short time-outs."""
    (tmp_path / "providers.toml").write_text(TABLE)
    monkeypatch.setenv("LLM_PROXY_PROVIDERS_FILE", str(tmp_path / "providers.toml"))
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")]) as master:
        yield master, unused_tcp_port


class Script:
    """A provider that gives one answer after the other, on as many connections as the proxy opens."""

    def __init__(self, *answers: bytes, closing: bool = False) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()
        self._answers = list(answers)
        self._closing = closing

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0][15:])) if length else b""
                self.heads.append(head + body)
                writer.write(self._answers.pop(0) if self._answers else b"")
                await writer.drain()
                if self._closing:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()

    def keys(self) -> list[str]:
        lines = [line for head in self.heads for line in head.decode().split("\r\n")]
        return [line.rpartition(" ")[2] for line in lines if line.lower().startswith("authorization:")]


@asynccontextmanager
async def told(tenant: Tenant, script: Provider, **more: object) -> AsyncIterator[None]:
    """Publish a project whose provider follows a script."""
    async with provided(script) as base_url:
        tenant.publish(base_url, **more)  # type: ignore[arg-type]
        yield


def header(answer: bytes, name: str) -> str | None:
    lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    return next((line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")), None)


async def test_a_busy_provider_is_asked_again_on_the_same_connection(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(BUSY, BUSY, PLAIN)
    async with told(tenant, script):
        answer = await exchange(proxy[1], post(tenant, CHAT))

    assert answer.startswith(b"HTTP/1.1 200") and header(answer, "x-llm-proxy-attempts") == "3"
    assert (len(script.heads), script.connections, len(set(script.heads))) == (3, 1, 1)
    assert len(tenant.events()) == 1


async def test_attempts_end_and_the_last_answer_is_the_providers_own(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(BUSY, BUSY, BUSY, PLAIN)
    async with told(tenant, script):
        answer = await exchange(proxy[1], post(tenant, CHAT))

    assert answer.startswith(b"HTTP/1.1 503 Busy") and answer.endswith(b"busy")
    assert len(script.heads) == 3


@pytest.mark.parametrize("more", ["", "x-llm-proxy-retry: off\r\n"], ids=["not on the list", "client says no"])
async def test_what_must_not_be_repeated_is_sent_once(proxy: tuple[Master, int], tenant: Tenant, more: str) -> None:
    raw = post(tenant, b"{}", more)
    if not more:
        raw = raw.replace(b"/v1/chat/completions", b"/v1/batches")
    script = Script(BUSY, PLAIN)
    async with told(tenant, script):
        answer = await exchange(proxy[1], raw)

    assert answer.startswith(b"HTTP/1.1 503") and len(script.heads) == 1


async def test_a_long_failed_answer_is_not_read_to_its_end(proxy: tuple[Master, int], tenant: Tenant) -> None:
    endless = b"HTTP/1.1 503 Busy\r\ncontent-length: 999999999\r\n\r\nbusy"
    script = Script(endless, PLAIN)
    async with told(tenant, script):
        answer = await exchange(proxy[1], post(tenant, CHAT))

    assert answer.startswith(b"HTTP/1.1 200") and script.connections == 2


async def test_a_connection_that_has_gone_stale_is_replaced_unseen(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(b"", PLAIN, closing=True)
    async with told(tenant, script):
        answer = await exchange(proxy[1], get(tenant))

    assert answer.startswith(b"HTTP/1.1 200") and script.connections == 2


async def test_another_key_takes_over_unseen(proxy: tuple[Master, int], tenant: Tenant) -> None:
    refused = b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}"
    script = Script(refused, PLAIN, PLAIN)
    async with told(tenant, script, keys=2):
        answers = [await exchange(proxy[1], get(tenant)) for _ in range(2)]

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 2
    first, second, third = script.keys()
    assert first != second == third


async def test_no_key_left_is_a_503_that_says_when(proxy: tuple[Master, int], tenant: Tenant) -> None:
    refused = b"HTTP/1.1 401 No\r\nretry-after: 20\r\ncontent-length: 24\r\n\r\nIncorrect API key: sk-12"
    script = Script(refused)
    async with told(tenant, script):
        answers = [await exchange(proxy[1], get(tenant)) for _ in range(2)]

    assert [code_of(answer) for answer in answers] == [(503, "upstream_keys_exhausted")] * 2
    assert all(15 <= int(header(answer, "retry-after") or 0) <= 20 for answer in answers)
    assert len(script.heads) == 1


async def test_a_fallback_takes_over_from_a_provider_that_is_down(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(PLAIN)
    async with provided(script) as spare:
        tenant.publish("http://127.0.0.1:9", fallback_urls=(spare,))
        answer = await exchange(proxy[1], get(tenant))

    assert answer.startswith(b"HTTP/1.1 200") and header(answer, "x-llm-proxy-attempts") == "2"


async def test_a_breaker_opens_answers_at_once_and_closes_by_itself(
    proxy: tuple[Master, int], tenant: Tenant, unused_tcp_port_factory: Callable[[], int]
) -> None:
    port = unused_tcp_port_factory()
    tenant.publish(f"http://127.0.0.1:{port}")
    codes = [code_of(await exchange(proxy[1], get(tenant, more="x-llm-proxy-retry: off\r\n"))) for _ in range(6)]

    server = await asyncio.start_server(Script(PLAIN), "127.0.0.1", port)
    async with server, asyncio.timeout(10):
        while (answer := await exchange(proxy[1], get(tenant))).startswith(b"HTTP/1.1 503"):
            await asyncio.sleep(0.05)
        server.close_clients()

    assert codes == [(502, "upstream_error")] * 5 + [(503, "circuit_open")]
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_first_byte_that_does_not_come_is_a_504(proxy: tuple[Master, int], tenant: Tenant) -> None:
    script = Script(b"")
    async with told(tenant, script):
        answer = await exchange(proxy[1], post(tenant, b"{}").replace(b"/v1/chat/completions", b"/v1/batches"))
        await asyncio.wait_for(script.gone.wait(), 5)

    assert code_of(answer) == (504, "upstream_timeout")
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.UPSTREAM_ABORTED, 504, "upstream_timeout")


async def test_a_first_byte_that_does_not_come_is_tried_again_where_that_is_allowed(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    script = Script(b"", PLAIN)
    async with told(tenant, script):
        answer = await exchange(proxy[1], get(tenant))

    assert answer.startswith(b"HTTP/1.1 200") and script.connections == 2


@pytest.mark.parametrize(("sent", "gap"), [(EVENT, b""), (b"8\r\ndata: {}\r\n", b"\n\n")], ids=["whole", "in an event"])
async def test_a_stream_that_falls_silent_ends_cleanly_with_an_error_event(
    proxy: tuple[Master, int], tenant: Tenant, sent: bytes, gap: bytes
) -> None:
    script = Script(SSE + sent)
    async with told(tenant, script):
        answer = await exchange(proxy[1], post(tenant, STREAM))
        await asyncio.wait_for(script.gone.wait(), 5)

    assert answer.endswith(b"\n\n\r\n0\r\n\r\n") and sent in answer
    said = answer.split(sent, 1)[1].split(b"\r\n")[1]
    assert said.startswith(gap + b"data: ")
    assert json.loads(said.strip().removeprefix(b"data: "))["error"]["code"] == "upstream_timeout"
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.UPSTREAM_ABORTED, 200, "upstream_timeout")


async def test_a_stream_lasts_as_long_as_chunks_keep_coming(proxy: tuple[Master, int], tenant: Tenant) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SSE)
        for _ in range(8):
            writer.write(EVENT)
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
        writer.close()

    async with told(tenant, drip):
        answer = await exchange(proxy[1], post(tenant, STREAM))

    assert answer.count(EVENT) == 8 and b"error" not in answer


async def test_a_total_time_ends_what_no_other_limit_ends(proxy: tuple[Master, int], tenant: Tenant) -> None:
    async with told(tenant, Script(b"")):
        answer = await exchange(proxy[1], get(tenant, "/v1/slow"))

    assert code_of(answer) == (504, "upstream_timeout")


@pytest.mark.parametrize("kind", ["token", "project"])
async def test_a_revoked_caller_is_cut_off_in_the_middle_of_a_silent_stream(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis, kind: str
) -> None:
    code = f"{kind}_inactive"
    script = Script(SSE + EVENT)
    async with told(tenant, script):
        running = asyncio.create_task(exchange(proxy[1], post(tenant, STREAM)))
        async with asyncio.timeout(5):
            while not script.heads:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        tenant.revoke(kind)
        answer = await asyncio.wait_for(running, 5)
        await asyncio.wait_for(script.gone.wait(), 5)

    assert EVENT in answer and answer.endswith(b"0\r\n\r\n") and code.encode() in answer
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.CUT, 200, code)


async def test_a_revocation_that_was_not_heard_is_found_out_on_reconnecting(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis
) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SSE)
        while not writer.is_closing():
            writer.write(EVENT)
            await asyncio.sleep(0.1)

    async with told(tenant, drip):
        running = asyncio.create_task(exchange(proxy[1], post(tenant, STREAM)))
        async with asyncio.timeout(5):
            while not redis_client.pubsub_numsub(redis_schema.CONTROL_CHANNEL)[0][1]:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        redis_client.hset(redis_schema.identity_key("token-1"), "is_active", 0)
        redis_client.client_kill_filter(_type="pubsub")
        answer = await asyncio.wait_for(running, 8)

    assert b"token_inactive" in answer


async def test_a_large_upload_is_passed_on_while_it_comes(proxy: tuple[Master, int], tenant: Tenant) -> None:
    arrived = asyncio.Event()

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(400_000)
        arrived.set()
        await reader.readexactly(600_000)
        writer.write(PLAIN)
        writer.close()

    head = post(tenant, b"").replace(b"/v1/chat/completions", b"/v1/files")
    head = head.replace(b"Content-Length: 0", b"Content-Length: 1000000")
    async with told(tenant, sink):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(head + b"x" * 500_000)
        await asyncio.wait_for(arrived.wait(), 5)
        writer.write(b"x" * 500_000)
        answer = await asyncio.wait_for(reader.readuntil(b"{}"), 5)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert (await tenant.event()).request_bytes == 1_000_000


async def test_an_upload_that_outgrows_its_limit_is_refused_while_it_runs_and_ends_at_the_provider(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    gone = asyncio.Event()

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        gone.set()
        writer.close()

    head = post(tenant, b"").replace(b"/v1/chat/completions", b"/v1/files")
    head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with told(tenant, sink):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(head)
        for _ in range(9):
            writer.write(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        await asyncio.wait_for(gone.wait(), 5)
        writer.close()

    assert code_of(answer) == (413, "request_too_large")


async def test_interim_answers_and_trailers_are_not_taken_for_the_answer(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    trailed = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 7\r\n\r\n"
    async with told(tenant, Script(early + trailed, PLAIN)):
        first = await exchange(proxy[1], get(tenant))
        second = await exchange(proxy[1], get(tenant))

    assert first.startswith(b"HTTP/1.1 200") and first.endswith(b"2\r\n{}\r\n0\r\n\r\n") and b"x-sum: 7" not in first
    assert second.startswith(b"HTTP/1.1 200")


async def test_an_answers_head_that_does_not_end_is_an_error(proxy: tuple[Master, int], tenant: Tenant) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"x-more: and more\r\n" * 20_000
    async with told(tenant, Script(endless)):
        answer = await exchange(proxy[1], get(tenant, more="x-llm-proxy-retry: off\r\n"))

    assert code_of(answer) == (502, "upstream_error")


@pytest.mark.parametrize(
    "head",
    [
        *(
            b"HTTP/1.1 200 OK\r\nx-a: b\rc",
            b"HTTP/1.1 200 OK\r\nx-a: b\0c",
            b"HTTP/1.1\x0b200 OK",
            b"HTTP/1.1 200 O\x1bK",
        ),
        *(b"HTTP/1.1 99 Low", b"HTTP/1.1 600 High", b"HTTP/1.1 -200 Below", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK"),
    ],
)
async def test_an_answers_head_that_is_garbled_is_an_error(
    proxy: tuple[Master, int], tenant: Tenant, head: bytes
) -> None:
    async with told(tenant, Script(head + b"\r\ncontent-length: 2\r\n\r\n{}", PLAIN)):
        refused = await exchange(proxy[1], get(tenant, more="x-llm-proxy-retry: off\r\n"))
        healed = await exchange(proxy[1], get(tenant))

    assert code_of(refused) == (502, "upstream_error") and healed.startswith(b"HTTP/1.1 200")


async def open_breaker(port: int, tenant: Tenant, upstream_port: int) -> None:
    """Let a provider that is not there be found out."""
    tenant.publish(f"http://127.0.0.1:{upstream_port}")
    for _ in range(5):
        await exchange(port, get(tenant, more="x-llm-proxy-retry: off\r\n"))


async def test_who_wants_retries_waits_for_a_provider_that_is_soon_tried_again(
    proxy: tuple[Master, int], tenant: Tenant, unused_tcp_port_factory: Callable[[], int]
) -> None:
    upstream_port = unused_tcp_port_factory()
    await open_breaker(proxy[1], tenant, upstream_port)

    waiting = [asyncio.create_task(exchange(proxy[1], get(tenant))) for _ in range(4)]
    async with await asyncio.start_server(Script(*[PLAIN] * 4), "127.0.0.1", upstream_port) as server:
        answers = await asyncio.gather(*waiting)
        server.close_clients()

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 4


async def test_a_caller_revoked_while_it_waits_for_a_provider_is_told_so_at_once(
    proxy: tuple[Master, int],
    tenant: Tenant,
    redis_client: redis.Redis,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    await open_breaker(proxy[1], tenant, unused_tcp_port_factory())
    waiting = asyncio.create_task(exchange(proxy[1], get(tenant)))
    async with asyncio.timeout(5):
        while int(redis_client.hget(redis_schema.token_key(tenant.digest), "requests") or 0) < 6:
            await asyncio.sleep(0.01)

    tenant.revoke("token")

    assert code_of(await asyncio.wait_for(waiting, 0.5)) == (401, "token_inactive")


async def test_a_client_that_leaves_during_the_pause_before_a_retry_ends_it(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    patient = BUSY.replace(b"Busy\r\n", b"Busy\r\nretry-after: 4\r\n")
    script = Script(patient, PLAIN)
    async with told(tenant, script):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(get(tenant))
        async with asyncio.timeout(5):
            while not script.heads:
                await asyncio.sleep(0.01)
        writer.close()
        event = await asyncio.wait_for(tenant.event(), 2)

    assert (event.outcome, event.status, event.attempts) == (Outcome.CLIENT_ABORTED, 0, 1)
    assert len(script.heads) == 1


async def test_what_a_provider_says_unasked_is_not_taken_for_the_next_answer(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    planted = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nplanted"
    script = Script(PLAIN + planted, PLAIN)
    async with told(tenant, script):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        answers = []
        for _ in range(2):
            writer.write(get(tenant))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            answers.append((head[:12], await reader.readexactly(2)))
        writer.close()

    assert answers == [(b"HTTP/1.1 200", b"{}")] * 2


async def test_a_revoked_caller_is_cut_off_from_its_websocket(proxy: tuple[Master, int], tenant: Tenant) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        accepted = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())  # noqa: S324 - RFC 6455
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted)
        writer.write(b"\x81\x02{}")
        await reader.read()
        writer.close()

    more = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    more += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with told(tenant, accept):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(get(tenant, "/v1/realtime", more))
        await asyncio.wait_for(reader.readuntil(b"\x81\x02{}"), 5)
        tenant.revoke("token")
        end = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert end == b"\x88\x02" + (1008).to_bytes(2)
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.CUT, 101, "token_inactive")


@pytest.fixture
def hole() -> Iterator[str]:
    """The base URL of a provider to which connections are never made, nor refused."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # They fill its queue.
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_an_upload_does_not_pile_up_while_its_provider_is_connected_to(
    proxy: tuple[Master, int], tenant: Tenant, hole: str
) -> None:
    tenant.publish(hole)
    head = post(tenant, b"").replace(b"/v1/chat/completions", b"/v1/unbounded")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.write(head.replace(b"Content-Length: 0", b"Content-Length: 900000000"))
    sent, piece = 0, b"x" * 65536

    with contextlib.suppress(TimeoutError):
        while sent < 100_000_000:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), 0.3)
            sent += len(piece)
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 10)
    writer.close()

    assert sent < 30_000_000, "what the kernel holds, and little more"
    assert code_of(answer) == (504, "upstream_timeout")


async def test_a_caller_revoked_while_its_provider_is_connected_to_is_told_so_at_once(
    proxy: tuple[Master, int], tenant: Tenant, redis_client: redis.Redis, hole: str
) -> None:
    tenant.publish(hole)
    waiting = asyncio.create_task(exchange(proxy[1], get(tenant)))
    async with asyncio.timeout(5):
        while not int(redis_client.hget(redis_schema.token_key(tenant.digest), "requests") or 0):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)

    tenant.revoke("token")

    assert code_of(await asyncio.wait_for(waiting, 0.5)) == (401, "token_inactive")
    assert (await tenant.event()).outcome is Outcome.CUT


async def test_a_provider_that_switches_protocols_unasked_makes_no_sense(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    script = Script(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", PLAIN)
    async with told(tenant, script):
        refused = await exchange(proxy[1], get(tenant, more="x-llm-proxy-retry: off\r\n"))
        healed = await exchange(proxy[1], get(tenant))

    assert code_of(refused) == (502, "upstream_error") and healed.startswith(b"HTTP/1.1 200")
