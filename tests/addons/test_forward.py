"""Rules of forward mode: who is let in through the door, and what holds within a tunnel."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from mitmproxy import dns, options, platform
from mitmproxy.connection import Client, Server
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.net.dns import classes, response_codes, types
from mitmproxy.proxy import layer, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import ConnectionClosed, DataReceived, Start
from mitmproxy.proxy.layers import ClientTLSLayer, DNSLayer, modes
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow, tutils
from mitmproxy.tls import ClientHelloData

from addons import origins
from addons.call import Calls
from addons.connect_door import ConnectDoor
from addons.forward import Forward, check_modes
from addons.one_answer import NoAnswer, OneAnswer
from addons.retiring import Retiring
from addons.route_table import RouteTable
from shared import redis_schema, settings
from shared.providers import ProviderTable
from tests.addons.runners import ADDONS, RUNNERS, proxying
from tests.addons.test_proxy import CHAT, KEY, PLAIN, Tenant, answering, code_of, exchange, get, post, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

TABLE = """
[providers.openai]
base_url = "https://api.openai.com"
dialect = "openai"
credential = { header = "authorization", scheme = "Bearer" }
routes = [
    { name = "models", path = "/v1/models", methods = ["GET"] },
    { name = "chat.completions", path = "/v1/chat/completions", methods = ["POST"] },
]

[providers.acme]
base_url = "https://API.acme.example:8443"
dialect = "opaque"
credential = { header = "X-Acme-Key", scheme = "" }
routes = [{ name = "models", path = "/v1/models", methods = ["GET"] }]

[providers.under]
base_url = "https://api.openai.com/beta/openai"
dialect = "openai"
credential = { header = "authorization", scheme = "Bearer" }
routes = [{ name = "models", path = "/models", methods = ["GET"] }]
"""
CONNECT = b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"


class Connected:
    """Remembers whom the proxy has connected to."""

    def __init__(self) -> None:
        self.addresses: list[Any] = []

    def server_connect(self, data: ServerConnectionHookData) -> None:
        self.addresses.append(data.server.address)


@pytest.fixture
async def proxy(
    configuration: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[Master, int]]:
    (tmp_path / "providers.toml").write_text(TABLE)
    monkeypatch.setenv("LLM_PROXY_PROVIDERS_FILE", str(tmp_path / "providers.toml"))
    scripts = [str(ADDONS / "main.py")]
    async with proxying(unused_tcp_port, tmp_path, scripts, RUNNERS["mitmdump"], mode=["regular"]) as master:
        yield master, unused_tcp_port


@pytest.fixture
def connected(proxy: tuple[Master, int]) -> Connected:
    connected = Connected()
    proxy[0].addons.add(connected)
    return connected


@pytest.fixture
def trust(proxy: tuple[Master, int], tmp_path: Path) -> ssl.SSLContext:
    """Trusts the proxy's authority, and no other."""
    return ssl.create_default_context(cafile=str(tmp_path / "mitmproxy-ca-cert.pem"))


Client_ = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def client(proxy: tuple[Master, int], trust: ssl.SSLContext, tenant: Tenant) -> Client_:
    """Makes clients that take the proxy for all their requests."""

    def made(http2: bool = False) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {tenant.secret}"}
        where = f"http://127.0.0.1:{proxy[1]}"
        return httpx2.AsyncClient(verify=trust, http2=http2, proxy=where, headers=headers, timeout=30)

    return made


async def within(port: int, trust: ssl.SSLContext, raw: bytes) -> bytes:
    """Send raw bytes through a tunnel, and return what comes back until it is closed or an answer has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CONNECT)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
    await writer.start_tls(trust, server_hostname="api.openai.com")
    writer.write(raw)
    received = b""
    async with asyncio.timeout(10):
        while b"}" not in received and (chunk := await reader.read(65536)):
            received += chunk
    writer.close()
    return received


# Through the tunnel


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
async def test_a_request_through_a_tunnel_goes_to_the_provider_of_its_project_with_its_key(
    client: Client_, tenant: Tenant, connected: Connected, http2: bool
) -> None:
    seen: list[bytes] = []
    async with provided(answering(PLAIN, seen=seen)) as base_url, client(http2) as asking:
        tenant.publish(base_url)
        answer = await asking.get("https://api.openai.com/v1/models")

    assert (answer.status_code, answer.text) == (200, "{}")
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert f"authorization: bearer {KEY}".encode() in seen[0].lower() and tenant.secret.encode() not in seen[0]
    assert f"host: {base_url.removeprefix('http://')}\r\n".encode() in seen[0].lower()
    assert connected.addresses == [("127.0.0.1", int(base_url.rpartition(":")[2]))]
    event = await tenant.event()
    assert (event.provider, event.route) == ("openai", "models")


async def test_what_the_host_header_says_changes_nothing(
    proxy: tuple[Master, int], trust: ssl.SSLContext, tenant: Tenant, connected: Connected
) -> None:
    seen: list[bytes] = []
    async with provided(answering(PLAIN, seen=seen)) as base_url:
        tenant.publish(base_url)
        answer = await within(proxy[1], trust, get(tenant).replace(b"Host: proxy", b"Host: evil.example"))

    assert answer.startswith(b"HTTP/1.1 200") and b"evil.example" not in seen[0]
    assert len(connected.addresses) == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", (401, "missing_token")),
        (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", (404, "endpoint_not_found")),
        (b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, "invalid_request")),
        (b"GET https://evil.example/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", (400, "invalid_request")),
        (b"GET /v1/models HTTP/1.1\r\nX: " + b"a" * 70_000, (431, "invalid_request")),
    ],
    ids=["no_token", "no_route", "connect", "absolute", "large"],
)
async def test_refusals_within_a_tunnel_are_those_of_the_proxys_own_address(
    proxy: tuple[Master, int], trust: ssl.SSLContext, connected: Connected, raw: bytes, expected: tuple[int, str]
) -> None:
    assert code_of(await within(proxy[1], trust, raw)) == expected
    assert connected.addresses == []


async def test_a_token_of_another_provider_is_refused_and_nothing_is_counted(
    client: Client_, tenant: Tenant, connected: Connected, redis_client: redis.Redis
) -> None:
    tenant.publish("http://127.0.0.1:9", max_requests=1)
    async with client() as asking:
        answer = await asking.get("https://api.acme.example:8443/v1/models")

    assert answer.status_code == 403 and b"host_not_allowed" in answer.content
    assert connected.addresses == []
    assert not int(redis_client.hget(redis_schema.token_key(tenant.digest), "requests") or 0)  # type: ignore[arg-type]


async def test_a_path_that_only_other_providers_have_is_not_offered(client: Client_, tenant: Tenant) -> None:
    tenant.publish("http://127.0.0.1:9")
    async with client() as asking:
        answer = await asking.get("https://api.openai.com/beta/openai/models")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")


async def test_an_answer_is_tried_again_within_a_tunnel(
    proxy: tuple[Master, int], trust: ssl.SSLContext, tenant: Tenant
) -> None:
    answers = [b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", PLAIN]

    async def flaky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    async with provided(flaky) as base_url:
        tenant.publish(base_url)
        answer = await within(proxy[1], trust, get(tenant))

    assert answer.startswith(b"HTTP/1.1 200") and answers == []


async def test_a_provider_that_is_away_is_an_error_in_json(
    proxy: tuple[Master, int], trust: ssl.SSLContext, tenant: Tenant, unused_tcp_port_factory: Callable[[], int]
) -> None:
    tenant.publish(f"http://127.0.0.1:{unused_tcp_port_factory()}")

    assert code_of(await within(proxy[1], trust, post(tenant, CHAT)))[0] == 502


# Where the network leads clients here


@pytest.fixture
async def led(
    configuration: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[int, ssl.SSLContext, Connected]]:
    """A proxy whose clients believe to be connected to port 443 of somebody; its port, its trust, and who was asked."""
    monkeypatch.setattr(platform, "init_transparent_mode", lambda: None)
    monkeypatch.setattr(platform, "original_addr", lambda sock: ("198.51.100.7", 443))
    (tmp_path / "providers.toml").write_text(TABLE)
    monkeypatch.setenv("LLM_PROXY_PROVIDERS_FILE", str(tmp_path / "providers.toml"))
    scripts, connected = [str(ADDONS / "main.py")], Connected()
    async with proxying(unused_tcp_port, tmp_path, scripts, RUNNERS["mitmdump"], mode=["transparent"]) as master:
        master.addons.add(connected)
        yield unused_tcp_port, ssl.create_default_context(cafile=str(tmp_path / "mitmproxy-ca-cert.pem")), connected


async def as_if_there(port: int, trust: ssl.SSLContext, name: str, raw: bytes) -> bytes:
    """Send raw bytes to what looks like a host of this name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
    writer.write(raw)
    async with asyncio.timeout(10):
        received = await reader.readuntil(b"}")
        received += await reader.read(1024) if b"error" in received else b""
    writer.close()
    return received


async def test_a_request_that_the_network_led_here_goes_to_the_provider_of_its_project(
    led: tuple[int, ssl.SSLContext, Connected], tenant: Tenant
) -> None:
    port, trust, connected = led
    seen: list[bytes] = []
    async with provided(answering(PLAIN, seen=seen)) as base_url:
        tenant.publish(base_url)
        answer = await as_if_there(port, trust, "api.openai.com", get(tenant))

    assert answer.startswith(b"HTTP/1.1 200") and f"bearer {KEY}".encode() in seen[0].lower()
    assert connected.addresses == [("127.0.0.1", int(base_url.rpartition(":")[2]))]


@pytest.mark.parametrize("protocols", [["h2", "http/1.1"], ["http/1.1"]], ids=["http2", "http1"])
async def test_what_the_network_led_here_for_others_is_refused(
    led: tuple[int, ssl.SSLContext, Connected], tenant: Tenant, protocols: list[str]
) -> None:
    port, trust, connected = led
    trust.set_alpn_protocols(protocols)

    answer = await as_if_there(port, trust, "github.com", get(tenant))

    assert code_of(answer) == (403, "host_not_allowed") and connected.addresses == []


# The door


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT api.openai.com:80 HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT api.openai.com.evil:443 HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT 127.0.0.1:443 HTTP/1.0\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", (403, "host_not_allowed")),
        (b"CONNECT api.openai.com HTTP/1.1\r\nHost: x\r\n\r\n", (400, "invalid_request")),
        (b"connect api.openai.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, "invalid_request")),
        (b"GET http://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", (400, "invalid_request")),
        (b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n", (400, "invalid_request")),
        (b"POST /v1/models HTTP/1.1\r\nHost: p\r\nContent-Length: 5\r\n\r\nhello", (400, "invalid_request")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, "invalid_request")),
        (b"\x05\x01\x00rubbish", (400, "invalid_request")),
        (b"CONNECT api.openai.com:443 HTTP/1.1\r\nX: " + b"a" * 70_000, (431, "invalid_request")),
    ],
    ids=[
        *("foreign", "port", "suffix", "host_header", "address", "path", "no_port", "lower_case", "absolute"),
        *("origin", "upload", "tls", "socks", "large"),
    ],
)
async def test_only_connect_to_hosts_of_providers_is_let_in(
    proxy: tuple[Master, int], connected: Connected, raw: bytes, expected: tuple[int, str]
) -> None:
    assert code_of(await exchange(proxy[1], raw)) == expected
    assert connected.addresses == []


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT API.OpenAI.com.:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT api.acme.example:8443 HTTP/1.0\r\n\r\n",
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
    ],
    ids=["written_otherwise", "http10", "with_password"],
)
async def test_connect_to_the_host_of_a_provider_is_let_in_and_reaches_nobody(
    proxy: tuple[Master, int], connected: Connected, head: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    for byte in head:
        writer.write(bytes([byte]))
        await writer.drain()

    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    writer.close()
    assert connected.addresses == []


async def test_what_is_no_tls_within_a_tunnel_is_refused(proxy: tuple[Master, int], connected: Connected) -> None:
    answer = await exchange(proxy[1], CONNECT + b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")

    assert code_of(answer.partition(b"\r\n\r\n")[2]) == (400, "invalid_request")
    assert connected.addresses == []


async def test_a_table_that_no_longer_has_the_host_closes_tunnels_that_are_open(calls: Calls, tmp_path: Path) -> None:
    flow = tflow.tflow()
    flow.server_conn = Server(address=("api.gone.example", 443))

    await Forward(calls, RouteTable()).requestheaders(flow)

    assert flow.response is not None and flow.response.status_code == 403


def test_the_door_ignores_what_is_for_requests_and_ends_with_its_client() -> None:
    context = Context(tflow.tclient_conn(), options.Options())
    door = ConnectDoor(context, lambda host, port: True)
    list(door.handle_event(Start()))

    ignored = list(door.handle_event(Retiring(closes_idle=True)))
    ended = list(door.handle_event(ConnectionClosed(context.client)))

    assert ignored == [] and [type(command).__name__ for command in ended] == ["CloseConnection"]


# Its decisions, one by one


@pytest.fixture
def forward(calls: Calls, tmp_path: Path) -> Forward:
    (tmp_path / "own.toml").write_text(TABLE)
    return Forward(calls, RouteTable(tmp_path / "own.toml"))


def choice(sent: bytes = b"", is_udp: bool = False, host: str = "198.51.100.7", port: int = 443) -> layer.NextLayer:
    """A connection of WireGuard or local mode, about to be given its next layer."""
    kind = "udp" if is_udp else "tcp"
    client = Client(peername=("10.0.0.1", 1), sockname=("", 0), transport_protocol=kind)  # type: ignore[arg-type]
    client.proxy_mode = mode_specs.ProxyMode.parse("local")
    context = Context(client, options.Options())
    context.server.address = (host, port)
    modes.TransparentProxy(context)
    asked = layer.NextLayer(context)
    asked.events.append(DataReceived(client, sent))
    return asked


def greet(forward: Forward, asked: layer.NextLayer, sni: str | None) -> None:
    """Let TLS begin."""
    forward.tls_clienthello(ClientHelloData(asked.context, Hello(sni)))  # type: ignore[arg-type]
    asked.context.client.tls = True


class Hello:
    """What a client of TLS says first, as far as it is looked at."""

    def __init__(self, sni: str | None) -> None:
        self.sni = sni


def test_connections_of_the_network_have_to_be_tls(forward: Forward) -> None:
    assert isinstance(forward.entrance(choice(b"\x16\x03\x01")), ClientTLSLayer)
    assert isinstance(forward.entrance(choice(b"GET / HTTP/1.1\r\n")), OneAnswer)


def test_the_name_within_tls_says_which_host_is_meant(forward: Forward) -> None:
    asked = choice()
    greet(forward, asked, "API.openai.com")

    assert forward.entrance(asked) is None
    assert asked.context.server.address == ("api.openai.com", 443) and asked.context.client.alpn is None


@pytest.mark.parametrize("sni", ["github.com", None])
def test_foreign_hosts_of_the_network_are_refused_in_http1(forward: Forward, sni: str | None) -> None:
    asked = choice()
    greet(forward, asked, sni)

    refusing = forward.entrance(asked)

    assert isinstance(refusing, OneAnswer) and asked.context.client.alpn == b"http/1.1"
    said = list(refusing.handle_event(DataReceived(asked.context.client, b"GET / HTTP/1.1\r\n\r\n")))
    assert code_of(said[0].data) == (403, "host_not_allowed")  # type: ignore[attr-defined]
    assert list(refusing.handle_event(DataReceived(asked.context.client, b"more"))) == []


def test_of_datagrams_only_dns_is_answered(forward: Forward) -> None:
    dropping = forward.entrance(choice(b"\xc0\x00\x00\x00\x01", is_udp=True))

    assert isinstance(forward.entrance(choice(is_udp=True, host="10.0.0.53", port=53)), DNSLayer)
    assert isinstance(dropping, NoAnswer)
    [command] = dropping.handle_event(DataReceived(dropping.context.client, b"x"))
    assert type(command).__name__ == "CloseConnection" and list(dropping.handle_event(Start())) == []


@pytest.mark.parametrize(
    ("name", "kind", "answered"),
    [
        ("api.openai.com", types.A, None),
        ("API.ACME.example", types.AAAA, None),
        ("api.openai.com", types.HTTPS, response_codes.NOERROR),
        ("secrets.evil.example", types.A, response_codes.REFUSED),
        ("x.api.openai.com", types.TXT, response_codes.REFUSED),
    ],
)
def test_only_the_addresses_of_providers_are_looked_up(
    forward: Forward, name: str, kind: int, answered: int | None
) -> None:
    flow = tflow.tdnsflow()
    flow.request.questions = [dns.Question(name, kind, classes.IN)]

    forward.dns_request(flow)

    assert (flow.response.response_code if flow.response else None) == answered


def test_a_lookup_of_nothing_is_refused(forward: Forward) -> None:
    flow = tflow.tdnsflow()
    flow.request.questions = []

    forward.dns_request(flow)

    assert flow.response is not None and flow.response.response_code == response_codes.REFUSED


def test_what_mitmproxys_own_layer_asks_is_refused(forward: Forward) -> None:
    flow = tflow.tflow(req=tutils.treq(method=b"CONNECT"))

    forward.http_connect(flow)

    assert flow.response is not None and flow.response.status_code == 503


# Modes


@pytest.mark.parametrize(
    "mode", ["reverse:http://upstream.invalid", "regular", "wireguard", "local:codex", "transparent"]
)
def test_modes_whose_every_connection_passes_the_rooms_are_taken(mode: str) -> None:
    check_modes([mode], has_own_certificate=False)


@pytest.mark.parametrize("mode", ["upstream:http://proxy.example", "socks5", "dns", "tun"])
def test_other_modes_are_refused_at_the_start(mode: str) -> None:
    with pytest.raises(OptionsError, match="llm-proxy has no"):
        check_modes(["regular", mode], has_own_certificate=False)


def test_the_certificate_of_the_own_address_cannot_stand_for_providers() -> None:
    check_modes(["reverse:http://upstream.invalid"], has_own_certificate=True)
    with pytest.raises(OptionsError, match="LLM_PROXY_TLS_FILE"):
        check_modes(["regular"], has_own_certificate=True)


# Where providers are


@pytest.fixture
def own_table(forward: Forward) -> ProviderTable:
    return forward._table.current


@pytest.mark.parametrize(
    ("target", "expected", "path"),
    [
        ("/v1/models?limit=1", {"openai"}, "/v1/models?limit=1"),
        ("/beta/openai/models", {"under"}, "/models"),
        ("/beta/openaimodels", {"openai"}, "/beta/openaimodels"),
        ("/beta/../v1", {"openai"}, "/beta/../v1"),
        ("*", set(), "*"),
    ],
)
def test_what_stands_before_the_routes_says_which_of_a_hosts_providers_is_meant(
    own_table: ProviderTable, target: str, expected: set[str], path: str
) -> None:
    there = origins.providers_at(own_table, "api.openai.com", 443)

    assert there == {"openai", "under"}
    assert origins.addressed(own_table, there, target) == (expected, path)


def test_without_any_fitting_path_nobody_is_meant(own_table: ProviderTable) -> None:
    assert origins.addressed(own_table, frozenset({"under"}), "/v1/models") == (frozenset(), "/v1/models")
