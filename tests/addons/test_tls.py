"""TLS and HTTP/2 for clients, where configured; own authorities and certificates towards providers."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import h2.connection
import httpx2
import pytest
import redis
import trustme
from mitmproxy.master import Master

from shared import redis_schema, settings
from shared.models import Outcome
from tests.addons.test_attempts import TABLE, Script
from tests.addons.test_proxy import ADDONS, PLAIN, STREAM, Tenant, code_of, exchange, get, provided, proxying
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

PATIENT_TABLE = TABLE.replace("connect = 1, first_byte = 0.3, idle = 0.3", "connect = 60, first_byte = 60, idle = 60")
EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def proxy(
    configuration: settings.Settings,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    unused_tcp_port: int,
) -> AsyncIterator[tuple[Master, int]]:
    """A proxy whose clients must use TLS. Providers may be as slow as a busy machine makes them."""
    (tmp_path / "providers.toml").write_text(PATIENT_TABLE)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "proxy.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    shown = authority.issue_cert("proxy.example").private_key_and_cert_chain_pem
    shown.write_to_path(str(tmp_path / "shown.pem"))
    monkeypatch.setenv("LLM_PROXY_PROVIDERS_FILE", str(tmp_path / "providers.toml"))
    monkeypatch.setenv("LLM_PROXY_TLS_FILE", str(tmp_path / "proxy.pem"))
    monkeypatch.setenv("LLM_PROXY_UPSTREAM_CA_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("LLM_PROXY_UPSTREAM_CERT_FILE", str(tmp_path / "shown.pem"))
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")]) as master:
        yield master, unused_tcp_port


@pytest.fixture
async def client(authority: trustme.CA, proxy: tuple[Master, int], tenant: Tenant) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP/2 client that trusts the proxy's certificate and no other."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    headers = {"authorization": f"Bearer {tenant.secret}"}
    url = f"https://127.0.0.1:{proxy[1]}"
    async with httpx2.AsyncClient(verify=context, http2=True, base_url=url, headers=headers, timeout=60) as made:
        yield made


async def test_a_hundred_streams_of_one_connection_run_at_the_same_time(
    client: httpx2.AsyncClient, tenant: Tenant
) -> None:
    waiting = 0
    everybody = asyncio.Event()

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        await reader.readuntil(b"\r\n\r\n")
        waiting += 1
        if waiting == 100:
            everybody.set()
        try:
            await asyncio.wait_for(everybody.wait(), 50)
            writer.write(PLAIN)
        finally:
            writer.close()

    async with provided(together) as base_url:
        tenant.publish(base_url)
        answers = await asyncio.gather(*(client.get("/v1/patient") for _ in range(100)))

    assert {(answer.status_code, answer.http_version, answer.text) for answer in answers} == {(200, "HTTP/2", "{}")}


async def test_streams_reuse_connections_to_the_provider(client: httpx2.AsyncClient, tenant: Tenant) -> None:
    script = Script(PLAIN, PLAIN, PLAIN)
    async with provided(script) as base_url:
        tenant.publish(base_url)
        for _ in range(3):
            assert (await client.get("/v1/models")).status_code == 200
        await client.aclose()

    assert script.connections == 1


async def test_chunks_and_their_end_arrive_over_http2(client: httpx2.AsyncClient, tenant: Tenant) -> None:
    body = EVENTS + b"a\r\ndata: {}\n\n\r\n0\r\n\r\n"
    async with provided(Script(body, closing=True)) as base_url:
        tenant.publish(base_url)
        answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": [], "stream": True})

    assert (answer.status_code, answer.text) == (200, "data: {}\n\n")
    assert not {"transfer-encoding", "connection"} & set(answer.headers)


async def test_refusals_and_time_outs_are_json_over_http2(client: httpx2.AsyncClient, tenant: Tenant) -> None:
    async with provided(Script(b"")) as base_url:
        tenant.publish(base_url)
        late = await client.get("/v1/slow")
    unknown = await client.get("/v1/nothing")
    large = await client.post("/v1/files", content=b"x" * 9_000_000, headers={"content-type": "text/plain"})

    assert (late.status_code, late.json()["error"]["code"]) == (504, "upstream_timeout")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "endpoint_not_found")
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_stream_that_the_client_gives_up_ends_at_the_provider_and_the_connection_lives_on(
    proxy: tuple[Master, int], tenant: Tenant, authority: trustme.CA
) -> None:
    script, rude = Script(*[EVENTS + b"a\r\ndata: {}\n\n\r\n"] * 2), Rude(tenant.secret)
    async with provided(script) as base_url:
        tenant.publish(base_url)
        rude.ask(1)
        writer = await rude.send(proxy[1], authority)
        await heard(script, 1)
        rude.take_back(1)
        await rude.send_more(writer)
        await asyncio.wait_for(script.gone.wait(), 10)
        rude.ask(1)
        await rude.send_more(writer)
        await heard(script, 2)
        writer.close()


async def heard(script: Script, count: int) -> None:
    """Return once the provider has got so many requests."""
    async with asyncio.timeout(10):
        while len(script.heads) < count:
            await asyncio.sleep(0.01)


async def test_without_tls_nobody_is_served_where_it_is_configured(proxy: tuple[Master, int], tenant: Tenant) -> None:
    assert code_of(await exchange(proxy[1], get(tenant))) == (400, "invalid_request")


async def test_the_own_authority_is_trusted_and_the_own_certificate_shown(
    client: httpx2.AsyncClient, tenant: Tenant, authority: trustme.CA
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    names: list[object] = []

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        names.extend(value for _, value in writer.get_extra_info("peercert")["subjectAltName"])
        writer.write(PLAIN)
        writer.close()

    server = await asyncio.start_server(provider, "127.0.0.1", 0, ssl=context)
    async with server:
        tenant.publish(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        answer = await client.get("/v1/models")

    assert answer.status_code == 200 and names == ["proxy.example"]


class Rude:
    """An HTTP/2 client that sends everything at once and does not care about answers."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()

    def ask(self, count: int, is_taken_back: bool = False) -> None:
        """Prepare streamed chats, each with its end, perhaps reset at once."""
        for _ in range(count):
            stream = self._connection.get_next_available_stream_id()
            names = {":method": "POST", ":scheme": "https", ":authority": "proxy", ":path": "/v1/chat/completions"}
            names |= {"authorization": f"Bearer {self._secret}", "content-type": "application/json"}
            self._connection.send_headers(stream, list(names.items()))
            self._connection.send_data(stream, STREAM, end_stream=True)
            if is_taken_back:
                self.take_back(stream)

    async def send(self, port: int, authority: trustme.CA) -> asyncio.StreamWriter:
        """Send what was prepared, in one write."""
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await self.send_more(writer)
        return writer

    def take_back(self, stream: int) -> None:
        """Prepare to reset a stream."""
        self._connection.reset_stream(stream, 8)

    async def send_more(self, writer: asyncio.StreamWriter) -> None:
        """Send what was prepared since."""
        writer.write(self._connection.data_to_send())
        await writer.drain()


async def all_recorded(tenant: Tenant, redis_client: redis.Redis) -> Counter[Outcome]:
    """Return the outcomes once there is an event for each admitted request."""
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.1)  # Admissions that are under way are counted now.
            counted = int(redis_client.hget(redis_schema.token_key(tenant.digest), "requests") or 0)  # type: ignore[arg-type]
            if counted and len(tenant.events()) == counted:
                return Counter(event.outcome for event in tenant.events())


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2])
async def test_a_connection_that_is_dropped_in_any_moment_leaves_nothing_unrecorded(
    proxy: tuple[Master, int],
    tenant: Tenant,
    authority: trustme.CA,
    redis_client: redis.Redis,
    seconds: float,
) -> None:
    rude = Rude(tenant.secret)
    rude.ask(40)
    async with provided(Script(*[EVENTS + b"a\r\ndata: {}\n\n\r\n"] * 40)) as base_url:
        tenant.publish(base_url)
        writer = await rude.send(proxy[1], authority)
        await asyncio.sleep(seconds)
        writer.transport.abort()
        outcomes = await all_recorded(tenant, redis_client)

    assert set(outcomes) <= {Outcome.CLIENT_ABORTED}


async def test_a_request_that_is_taken_back_with_its_end_goes_no_further(
    proxy: tuple[Master, int], tenant: Tenant, authority: trustme.CA, redis_client: redis.Redis
) -> None:
    rude = Rude(tenant.secret)
    rude.ask(20, is_taken_back=True)
    async with provided(Script(*[EVENTS] * 20)) as base_url:
        tenant.publish(base_url)
        writer = await rude.send(proxy[1], authority)
        outcomes = await all_recorded(tenant, redis_client)
        writer.close()

    assert outcomes == {Outcome.CLIENT_ABORTED: 20}
