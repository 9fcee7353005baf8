"""Rules of the whole data plane, run inside the test: real mitmproxy, real Valkey, and a provider made of bytes."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from mitmproxy import http
from mitmproxy.master import Master

from shared import redis_schema, sealing, settings, tokens
from shared.models import Limit, Outcome, Project, Token, UpstreamKey, UsageEvent
from tests.addons.runners import ADDONS as ADDONS
from tests.addons.runners import proxying as proxying
from tests.addons.runners import runner as runner  # a fixture

KEY = "sk-proj-a-provider-key-of-this-test"
Provider = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def configuration(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    valkey_url: str,
    redis_client: redis.Redis,
    unused_tcp_port_factory: Callable[[], int],
) -> settings.Settings:
    """The data plane's settings, taken from the environment as in life; Redis is empty before a proxy starts."""
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_PROXY_REDIS_TIMEOUT_MS", "10000")  # These tests are not about a busy machine.
    monkeypatch.setenv("LLM_PROXY_METRICS_PORT", str(unused_tcp_port_factory()))
    return settings.load(settings.Plane.DATA)


@pytest.fixture
async def proxy(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[Master, int]]:
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")]) as master:
        yield master, unused_tcp_port


class Tenant:
    """A published project and token, whose requests go to a provider that the test writes."""

    def __init__(self, client: redis.Redis, configuration: settings.Settings) -> None:
        self._redis = client
        self._configuration = configuration
        self.secret = tokens.generate()
        self.digest = tokens.digest(self.secret, configuration.token_pepper)

    def publish(
        self,
        base_url: str,
        max_requests: int | None = None,
        keys: int = 1,
        token_limits: tuple[Limit, ...] = (),
        **more: Any,
    ) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        sealed = tuple(self._key(number + 1) for number in range(keys))
        self._project = Project("project-1", "openai", True, base_url, sealed, 1, **more)
        self._token = Token("token-1", self.digest, "project-1", "label", True, later, max_requests, 0, None, 1)
        self._token = replace(self._token, limits=token_limits)
        self._write()
        self._redis.set(redis_schema.EPOCH, "epoch")

    def revoke(self, kind: str) -> None:
        """Deactivate the token or the project."""
        if kind == "token":
            self._token = replace(self._token, is_active=False, version=2)
        else:
            self._project = replace(self._project, is_active=False, version=2)
        self._write()

    def _key(self, number: int) -> UpstreamKey:
        plain = KEY if number == 1 else f"{KEY}-{number}"
        name = f"key-{number}"
        return UpstreamKey(name, self._configuration.encryption_keys.seal(plain, f"upstream_keys:{name}"))

    def _write(self) -> None:
        script = redis_schema.script
        self._redis.register_script(script("publish_project"))(*redis_schema.encode_project(self._project))
        self._redis.register_script(script("publish_token"))(*redis_schema.encode_token(self._token))

    def events(self) -> list[UsageEvent]:
        entries = self._redis.xrange(redis_schema.USAGE_STREAM)
        return [redis_schema.decode_event(fields) for _, fields in entries]  # type: ignore[union-attr]

    async def event(self) -> UsageEvent:
        async with asyncio.timeout(10):
            while not (events := self.events()):
                await asyncio.sleep(0.01)
        [only] = events
        return only


@pytest.fixture
def tenant(redis_client: redis.Redis, configuration: settings.Settings) -> Tenant:
    return Tenant(redis_client, configuration)


@asynccontextmanager
async def provided(answer: Provider) -> AsyncIterator[str]:
    """A provider on a free port; gives its base URL."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        yield f"http://{host}:{port}"
        server.close_clients()  # The engine's pool may keep connections that nobody uses.


def answering(*parts: bytes, seen: list[bytes] | None = None) -> Provider:
    """A provider that reads one request and then sends these bytes, part by part, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()

    return answer


async def exchange(port: int, raw: bytes) -> bytes:
    """Send raw bytes and return everything that comes back until the proxy closes or has answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    received = b""
    async with asyncio.timeout(10):
        while chunk := await reader.read(65536):
            received += chunk
            head, found, body = received.partition(b"\r\n\r\n")
            length = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if found and length and len(body) >= int(length[0]) or received.endswith(b"0\r\n\r\n"):
                break
    writer.close()
    return received


def get(tenant: Tenant, path: str = "/v1/models", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {tenant.secret}\r\n{more}\r\n".encode()


def post(tenant: Tenant, body: bytes, more: str = "") -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {tenant.secret}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def code_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


CHAT = b'{"model":"m","messages":[]}'
STREAM = b'{"model":"m","messages":[],"stream":true}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_the_provider_gets_the_key_and_the_flow_never_has_it(proxy: tuple[Master, int], tenant: Tenant) -> None:
    master, port = proxy
    seen: list[bytes] = []
    states: list[str] = []

    class Witness:
        def requestheaders(self, flow: http.HTTPFlow) -> None:
            states.append(str(flow.get_state()))

        request = responseheaders = response = requestheaders

    master.addons.add(Witness())
    async with provided(answering(PLAIN, seen=seen)) as base_url:
        tenant.publish(base_url)
        answer = await exchange(port, get(tenant, more="X-Api-Key-Hint: none\r\n"))

    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"{}")
    assert f"authorization: Bearer {KEY}".lower().encode() in seen[0].lower() and tenant.secret.encode() not in seen[0]
    assert len(states) == 4 and not any(KEY in state or tenant.secret in state for state in states)


async def test_an_event_is_recorded_for_a_finished_request(proxy: tuple[Master, int], tenant: Tenant) -> None:
    body = b'{"model":"gpt-4o-2024","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    async with provided(answering(head, body)) as base_url:
        tenant.publish(base_url)
        await exchange(proxy[1], post(tenant, b'{"model":"gpt-4o","messages":[]}'))

    event = await tenant.event()

    assert (event.outcome, event.status, event.model) == (Outcome.FINISHED, 200, "gpt-4o-2024")
    assert (event.usage.total_tokens, event.sequence, event.upstream_key_id) == (3, 1, "key-1")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", (502, "upstream_error")),
        (b"rubbish\r\n\r\n", (502, "upstream_error")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", (502, "upstream_error")),
    ],
)
async def test_a_provider_that_makes_no_sense_is_one_json_error(
    proxy: tuple[Master, int], tenant: Tenant, said: bytes, expected: tuple[int, str]
) -> None:
    async with provided(answering(said)) as base_url:
        tenant.publish(base_url)
        answer = await exchange(proxy[1], get(tenant))

    assert code_of(answer) == expected
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.UPSTREAM_ABORTED, 502, "upstream_error")


@pytest.mark.parametrize(
    "kind",
    [b"application/json", b"text/event-stream\r\ncontent-encoding: gzip", b"audio/mpeg"],
    ids=["json", "gzip", "mp3"],
)
async def test_a_body_that_breaks_off_never_looks_whole(proxy: tuple[Master, int], tenant: Tenant, kind: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    async with provided(answering(head, b"5\r\ndata:\r\n")) as base_url:
        tenant.publish(base_url)
        answer = await exchange(proxy[1], post(tenant, STREAM))

    assert answer.endswith(b"5\r\ndata:\r\n")
    event = await tenant.event()
    assert (event.outcome, event.status, event.response_bytes) == (Outcome.UPSTREAM_ABORTED, 200, 5)


async def test_a_client_that_goes_away_ends_the_request_at_the_provider(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"5\r\n: hi\n\r\n")
        await writer.drain()
        while await reader.read(65536):
            pass
        gone.set()
        writer.close()

    async with provided(answer) as base_url:
        tenant.publish(base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(post(tenant, STREAM))
        await asyncio.wait_for(reader.readuntil(b": hi\n"), 10)
        writer.close()
        await asyncio.wait_for(gone.wait(), 10)

        event = await tenant.event()

    assert (event.outcome, event.status, event.is_stream) == (Outcome.CLIENT_ABORTED, 200, True)


async def test_each_chunk_is_passed_on_before_the_next_one_comes(proxy: tuple[Master, int], tenant: Tenant) -> None:
    arrived = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"5\r\nfirst\r\n")
        await asyncio.wait_for(arrived.wait(), 10)
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        writer.close()

    async with provided(answer) as base_url:
        tenant.publish(base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(post(tenant, STREAM))
        await asyncio.wait_for(reader.readuntil(b"first\r\n"), 10)
        arrived.set()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()

    assert rest == b"4\r\nlast\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"rubbish\r\n\r\n", (400, "invalid_request")),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, "invalid_request")),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", (401, "missing_token")),
        (b"GET /v1/models HTTP/1.1\r\nX-Endless: " + b"a" * 70_000, (431, "invalid_request")),
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", (401, "missing_token")),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            (400, "invalid_request"),
        ),
    ],
)
async def test_what_is_refused_early_is_answered_at_once(
    proxy: tuple[Master, int], raw: bytes, expected: tuple[int, str]
) -> None:
    assert code_of(await exchange(proxy[1], raw)) == expected


async def test_a_refused_upload_is_read_no_further_than_manners_ask(proxy: tuple[Master, int], tenant: Tenant) -> None:
    tenant.publish("http://127.0.0.1:9")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.write(post(tenant, b"")[:-4].replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"\r\n\r\n")
    sent = 0

    with pytest.raises((ConnectionError, TimeoutError)):
        async with asyncio.timeout(20):
            while sent < 1 << 30:
                writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
                await writer.drain()

    assert sent < 300 << 20
    assert (await tenant.event()).error_code == "request_too_large"
    writer.close()


async def test_a_keep_alive_connection_serves_one_request_after_another(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(PLAIN)
        writer.close()

    async with provided(answer) as base_url:
        tenant.publish(base_url, max_requests=2)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        statuses = []
        for _ in range(3):
            writer.write(get(tenant))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            statuses.append(int(head.split()[1]))
            length = next(line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length))
        writer.close()

    assert statuses == [200, 200, 429]


async def test_a_flow_that_was_never_admitted_reaches_no_provider(proxy: tuple[Master, int], tenant: Tenant) -> None:
    """Even if every room were bypassed: another addon takes our refusal off again."""

    class Saboteur:
        def request(self, flow: http.HTTPFlow) -> None:
            flow.response = None

    seen: list[bytes] = []
    proxy[0].addons.add(Saboteur())
    async with provided(answering(PLAIN, seen=seen)) as base_url:
        tenant.publish(base_url)
        answer = await exchange(proxy[1], b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")

    assert code_of(answer) == (503, "service_unavailable") and seen == []


async def test_without_redis_nobody_is_admitted(
    configuration: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/nobody.sock")

    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")]):
        head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens.generate()}\r\n\r\n"
        answer = await exchange(unused_tcp_port, head.encode())

    assert code_of(answer) == (503, "service_unavailable") and b"retry-after: 1" in answer


async def test_health_is_served_on_a_port_of_its_own(
    proxy: tuple[Master, int], configuration: settings.Settings, tenant: Tenant
) -> None:
    port = configuration.metrics_port

    async def status(path: str) -> int:
        return int((await exchange(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).split()[1])

    assert (await status("/healthz"), await status("/readyz"), await status("/other")) == (200, 503, 404)
    tenant.publish("http://127.0.0.1:9")
    assert await status("/readyz") == 200


async def test_two_workers_share_a_port_and_listen_only_when_told(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int
) -> None:
    scripts = [str(ADDONS / "main.py"), str(ADDONS / "engine" / "shared_port.py")]

    async with (
        proxying(unused_tcp_port, tmp_path / "1", scripts, server=False),
        proxying(unused_tcp_port, tmp_path / "2", scripts, server=False),
    ):
        for _ in range(8):
            answer = await exchange(unused_tcp_port, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert code_of(answer) == (401, "missing_token")


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_provider_over_tls_is_verified_before_it_sees_the_key(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int, tenant: Tenant, is_trusted: bool
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    trusted = tmp_path / "authority.pem"
    (authority if is_trusted else stranger).cert_pem.write_to_path(str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    seen: list[bytes] = []
    server = await asyncio.start_server(answering(PLAIN, seen=seen), "127.0.0.1", 0, ssl=context)
    more = {"ssl_verify_upstream_trusted_ca": str(trusted)}

    async with server, proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")], **more):
        tenant.publish(f"https://localhost:{server.sockets[0].getsockname()[1]}")
        answer = await exchange(unused_tcp_port, get(tenant))

    if is_trusted:
        assert answer.startswith(b"HTTP/1.1 200") and KEY.encode() in seen[0]
    else:
        assert code_of(answer) == (502, "upstream_error") and seen == []


async def test_a_burst_of_requests_waits_for_redis_and_is_not_refused(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    tenant.publish("http://127.0.0.1:9", max_requests=10)

    asked = get(tenant, more="x-llm-proxy-retry: off\r\n")
    answers = await asyncio.gather(*(exchange(proxy[1], asked) for _ in range(500)))

    codes = Counter(code_of(answer)[1] for answer in answers)
    assert codes["quota_exceeded"] == 490 and codes["service_unavailable"] == 0


@pytest.mark.parametrize("runner", ["mitmdump"], indirect=True)  # The engine has no commands, so nothing replays.
async def test_a_replayed_request_is_refused_and_spends_nothing(proxy: tuple[Master, int], tenant: Tenant) -> None:
    master, port = proxy
    flows: list[http.HTTPFlow] = []
    replayed = asyncio.Event()

    class Witness:
        def response(self, flow: http.HTTPFlow) -> None:
            flows.append(flow)
            if flow.is_replay:
                replayed.set()

    master.addons.add(Witness())
    async with provided(answering(PLAIN)) as base_url:
        tenant.publish(base_url)
        await exchange(port, get(tenant))
        master.commands.call("replay.client", flows[:1])
        await asyncio.wait_for(replayed.wait(), 5)

    assert flows[-1].response is not None and flows[-1].response.status_code == 400
    assert len(tenant.events()) == 1


async def test_a_client_that_closes_its_side_is_gone_and_recorded_as_that(
    proxy: tuple[Master, int], tenant: Tenant
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with provided(silent) as base_url:
        tenant.publish(base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(get(tenant))
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.CLIENT_ABORTED, 0, None)


async def test_a_body_of_tiny_chunks_is_read_as_it_comes(proxy: tuple[Master, int], tenant: Tenant) -> None:
    seen: list[bytes] = []
    body = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in CHAT) + b"0\r\n\r\n"
    head = post(tenant, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(PLAIN)
        writer.close()

    async with provided(provider) as base_url:
        tenant.publish(base_url)
        answer = await exchange(proxy[1], head + body)

    assert answer.startswith(b"HTTP/1.1 200")
    assert CHAT in seen[0] and (await tenant.event()).request_bytes == len(CHAT)
