"""What returns to the pool and what does not, with real requests and real TLS, on both event loops."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from addons.engine.master import EngineMaster
from addons.engine.provider_lines import Limits
from shared import settings
from tests.addons.engine.test_pool import engine_with, listening
from tests.addons.runners import ADDONS, proxying
from tests.addons.test_attempts import BUSY, EVENT, SSE, TABLE, Script, header
from tests.addons.test_proxy import CHAT, PLAIN, STREAM, Tenant, code_of, exchange, get, post
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")
AUTHORITY = trustme.CA()
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
AUTHORITY.issue_cert("localhost").configure_cert(CONTEXT)
Provider = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Workers run on uvloop, whose TLS is its own."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Proxy:
    """The engine, and what goes through it; `chosen` limits its pool."""

    def __init__(self, port: int, master: EngineMaster) -> None:
        self.port = port
        self.pool = master.pool

    async def ask(self, raw: bytes) -> bytes:
        return await exchange(self.port, raw)

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.pool.counts().open != count:
                await asyncio.sleep(0.005)


@pytest.fixture
def limits() -> Limits:
    return Limits(connections=1, queue=1)


@pytest.fixture
async def proxy(
    configuration: settings.Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    unused_tcp_port: int,
    limits: Limits,
) -> AsyncIterator[Proxy]:
    """A proxy with short time-outs and one connection for all: whatever is lost on the way is missed at once."""
    (tmp_path / "providers.toml").write_text(TABLE)
    monkeypatch.setenv("LLM_PROXY_PROVIDERS_FILE", str(tmp_path / "providers.toml"))
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    more = {"ssl_verify_upstream_trusted_ca": str(tmp_path / "ca.pem")}
    scripts = [str(ADDONS / "main.py")]
    async with proxying(unused_tcp_port, tmp_path, scripts, engine_with(limits), **more) as master:
        assert isinstance(master, EngineMaster)
        yield Proxy(unused_tcp_port, master)


@asynccontextmanager
async def told(tenant: Tenant, provider: Any, is_tls: bool = True) -> AsyncIterator[None]:
    """Publish a project whose provider is this one."""
    async with listening(provider, CONTEXT if is_tls else None) as port:
        tenant.publish(f"https://localhost:{port}" if is_tls else f"http://localhost:{port}")
        yield


@pytest.mark.parametrize("is_tls", [True, False], ids=["TLS", "clear"])
@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (PLAIN, 1),
        (SSE + EVENT + b"0\r\n\r\n", 1),
        (SSE + EVENT + b"0\r\nx-trailer: dropped\r\n\r\n", 1),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + PLAIN, 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, 1),
        (HEAD + b"content-length: 2\r\nconnection: close\r\n\r\n{}", 2),
        (PLAIN.replace(b"1.1", b"1.0"), 2),
        (PLAIN + b"more", 2),
        (PLAIN + PLAIN, 2),
    ],
    ids=["length", "chunks", "trailers", "103", "100", "close", "1.0", "too much", "twice"],
)
async def test_a_connection_serves_the_next_client_only_after_a_whole_answer_that_keeps_it(
    proxy: Proxy, tenant: Tenant, answer: bytes, connections: int, is_tls: bool
) -> None:
    provider = Script(answer, PLAIN)
    async with told(tenant, provider, is_tls):
        first = await proxy.ask(get(tenant))
        second = await proxy.ask(get(tenant))

    assert (first[:12], second[:12], second[-2:]) == (b"HTTP/1.1 200", b"HTTP/1.1 200", b"{}")
    assert provider.connections == connections


@pytest.mark.parametrize("is_tls", [True, False], ids=["TLS", "clear"])
async def test_an_answer_that_ends_with_its_connection_is_whole_and_the_next_one_gets_another(
    proxy: Proxy, tenant: Tenant, is_tls: bool
) -> None:
    provider = Script(HEAD + b"\r\n{}", PLAIN, closing=True)
    async with told(tenant, provider, is_tls):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(get(tenant, more="Connection: close\r\n"))
        first = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        second = await proxy.ask(get(tenant))

    assert first.startswith(b"HTTP/1.1 200") and b"{}" in first and second.endswith(b"{}")
    assert provider.connections == 2


async def test_attempts_and_the_next_client_use_one_connection(proxy: Proxy, tenant: Tenant) -> None:
    provider = Script(BUSY, PLAIN, PLAIN)
    async with told(tenant, provider):
        first = await proxy.ask(post(tenant, CHAT))
        second = await proxy.ask(get(tenant))

    assert header(first, "x-llm-proxy-attempts") == "2" and second.endswith(b"{}")
    assert provider.connections == 1


class Tired:
    """A provider that answers once on each connection and closes when it is asked again."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await reader.read(1)
        writer.close()


@pytest.mark.parametrize(("path", "connections"), [("chat", 2), ("batches", 1)], ids=["repeatable", "not repeatable"])
async def test_a_request_that_meets_the_end_of_a_kept_connection_follows_its_routes_rule(
    proxy: Proxy, tenant: Tenant, path: str, connections: int
) -> None:
    provider = Tired()
    raw = post(tenant, CHAT)
    if path == "batches":
        raw = raw.replace(b"/v1/chat/completions", b"/v1/batches")
    async with told(tenant, provider):
        await proxy.ask(get(tenant))
        answer = await proxy.ask(raw)

    assert provider.connections == connections
    assert answer.endswith(b"{}") if connections == 2 else code_of(answer) == (502, "upstream_error")


async def test_a_client_that_stays_shares_its_idle_connection(proxy: Proxy, tenant: Tenant) -> None:
    provider = Script(*[PLAIN] * 6)
    async with told(tenant, provider):
        clients = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(2)]
        for _ in range(3):
            for reader, writer in clients:
                writer.write(get(tenant))
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{}"), 5)
        for _, writer in clients:
            writer.close()

    assert (provider.connections, len(provider.heads)) == (1, 6)


class Patient:
    """A provider that answers when it is told to, on as many connections as it gets."""

    def __init__(self) -> None:
        self.asked, self.release = asyncio.Event(), asyncio.Event()
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            self.asked.set()
            await self.release.wait()
            writer.write(PLAIN)
        writer.close()


async def test_one_who_waits_gets_the_connection_when_its_user_has_the_answer(proxy: Proxy, tenant: Tenant) -> None:
    provider = Patient()
    async with told(tenant, provider):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(get(tenant, "/v1/patient"))
        await asyncio.wait_for(provider.asked.wait(), 5)
        waiting = asyncio.create_task(proxy.ask(get(tenant, "/v1/patient")))
        await until_waiting(proxy)
        provider.release.set()
        answers = [await asyncio.wait_for(reader.readuntil(b"{}"), 5), await waiting]
        writer.close()

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers) and provider.connections == 1


async def test_waiting_for_too_long_is_refused_and_not_held_against_the_provider(proxy: Proxy, tenant: Tenant) -> None:
    provider = Patient()

    async with told(tenant, provider):
        first = asyncio.create_task(proxy.ask(get(tenant, "/v1/patient")))
        await asyncio.wait_for(provider.asked.wait(), 5)
        refused = [await proxy.ask(get(tenant, "/v1/patient")) for _ in range(6)]
        provider.release.set()
        answered = [await first, await proxy.ask(get(tenant, "/v1/patient"))]

    assert {code_of(answer) for answer in refused} == {(503, "upstream_crowded")}
    assert [answer[-2:] for answer in answered] == [b"{}", b"{}"]


async def until_waiting(proxy: Proxy) -> None:
    async with asyncio.timeout(5):
        while not sum(lines.waiting for lines in proxy.pool._origins.values()):
            await asyncio.sleep(0.005)


class Slow:
    """A provider that says something when it is asked and then nothing; `gone` when the connection has ended."""

    def __init__(self, said: bytes) -> None:
        self.asked, self.gone = asyncio.Event(), asyncio.Event()
        self._said = said

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._said)
            self.asked.set()
            await reader.read()
        except OSError:
            pass
        finally:
            self.gone.set()
            writer.close()


@pytest.mark.parametrize("is_tls", [True, False], ids=["TLS", "clear"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", SSE, SSE + EVENT], ids=["no answer", "half", "head", "chunk"])
async def test_a_client_that_vanishes_ends_its_connection_and_leaves_its_place(
    proxy: Proxy, tenant: Tenant, said: bytes, is_tls: bool
) -> None:
    provider = Slow(said)
    async with told(tenant, provider, is_tls):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(get(tenant, "/v1/patient"))
        await asyncio.wait_for(provider.asked.wait(), 5)
        writer.transport.abort()
        await asyncio.wait_for(provider.gone.wait(), 5)
        await proxy.until_open(0)
        lines = next(iter(proxy.pool._origins.values()), None)
        assert lines is None or not lines._permits.locked()


async def test_a_client_that_vanishes_during_the_handshake_leaves_nothing(proxy: Proxy, tenant: Tenant) -> None:
    connected, gone = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)  # Of the client's hello.
        connected.set()
        await reader.read()
        gone.set()
        writer.close()

    async with listening(mute) as port:
        tenant.publish(f"https://localhost:{port}")
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(get(tenant))
        await asyncio.wait_for(connected.wait(), 5)
        writer.transport.abort()
        await asyncio.wait_for(gone.wait(), 5)
        proxy.pool.sweep()
        assert not proxy.pool._origins


async def test_a_handshake_that_never_ends_is_given_up_in_time(proxy: Proxy, tenant: Tenant) -> None:
    open_now = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        await reader.read()
        open_now -= 1
        writer.close()

    async with listening(mute) as port:
        tenant.publish(f"https://localhost:{port}")
        answer = await proxy.ask(get(tenant, more="x-llm-proxy-retry: off\r\n"))
        async with asyncio.timeout(5):
            while open_now:
                await asyncio.sleep(0.005)

    assert code_of(answer) == (504, "upstream_timeout")


async def test_one_who_waits_and_vanishes_leaves_the_queue(proxy: Proxy, tenant: Tenant) -> None:
    provider = Slow(SSE)
    async with told(tenant, provider):
        _, first = await asyncio.open_connection("127.0.0.1", proxy.port)
        first.write(get(tenant, "/v1/patient"))
        await asyncio.wait_for(provider.asked.wait(), 5)
        _, second = await asyncio.open_connection("127.0.0.1", proxy.port)
        second.write(get(tenant, "/v1/patient"))
        await until_waiting(proxy)
        second.transport.abort()
        async with asyncio.timeout(5):
            while sum(lines.waiting for lines in proxy.pool._origins.values()):
                await asyncio.sleep(0.005)
        first.transport.abort()
        await asyncio.wait_for(provider.gone.wait(), 5)
        await proxy.until_open(0)


async def test_a_large_answer_to_a_slow_reader_is_held_back_and_its_connection_kept(
    proxy: Proxy, tenant: Tenant
) -> None:
    size = 24 << 20
    written = 0
    connections = 0

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written, connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(b"x" * (1 << 16))
            await writer.drain()
            written += 1 << 16
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await reader.read()
        writer.close()

    async with told(tenant, provider):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(get(tenant, "/v1/patient"))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        before = -1
        while before != written:  # Until nothing moves any more.
            before = written
            await asyncio.sleep(0.1)
        held_back = written < size
        body = await asyncio.wait_for(reader.readexactly(size), 20)
        writer.close()
        second = await proxy.ask(get(tenant))

    assert held_back and body.count(b"x") == size and second.endswith(b"{}") and connections == 1


async def test_streams_do_not_share_connections(proxy: Proxy, tenant: Tenant) -> None:
    """Nor does what became a WebSocket, or was given up in its middle, come back."""
    provider = Script(SSE + EVENT, PLAIN)
    async with told(tenant, provider):
        cut = await proxy.ask(post(tenant, STREAM))  # Ends by the route's limit of silence.
        after = await proxy.ask(get(tenant))

    assert b"upstream_timeout" in cut and after.endswith(b"{}") and provider.connections == 2
