"""TLS towards providers under both runners: who is trusted, and what flows tell about it, on any connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.master import Master

from shared import settings
from tests.addons.engine.test_pool import listening
from tests.addons.runners import ADDONS, proxying
from tests.addons.test_attempts import Script
from tests.addons.test_proxy import PLAIN, Tenant, code_of, exchange, get
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")
LAST_YEAR = datetime.now(UTC) - timedelta(days=365)


@pytest.fixture
def event_loop_policy(runner: str) -> asyncio.AbstractEventLoopPolicy:
    """As in life: the engine runs on uvloop, whose TLS is its own."""
    return uvloop.EventLoopPolicy() if runner == "engine" else asyncio.DefaultEventLoopPolicy()


def served(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def outdated() -> ssl.SSLContext:
    context = served(AUTHORITY.issue_cert("localhost"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.fixture
async def proxy(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[Master, int]]:
    """A proxy that trusts AUTHORITY and no other."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    more = {"ssl_verify_upstream_trusted_ca": str(tmp_path / "ca.pem")}
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")], **more) as master:
        yield master, unused_tcp_port


class Blunt(Script):
    """A provider that speaks first, and no TLS."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN)
        await super().__call__(reader, writer)


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("host", "make"),
    [
        ("localhost", lambda: served(STRANGER.issue_cert("localhost"))),
        ("localhost", lambda: served(AUTHORITY.issue_cert("other.example"))),
        ("localhost", lambda: served(AUTHORITY.issue_cert("other.example", common_name="localhost"))),
        ("localhost", lambda: served(AUTHORITY.issue_cert("127.0.0.1"))),
        ("127.0.0.1", lambda: served(AUTHORITY.issue_cert("localhost"))),
        ("127.0.0.1", lambda: served(AUTHORITY.issue_cert("127.0.0.2"))),
        ("localhost", lambda: served(AUTHORITY.issue_cert("localhost", not_before=LAST_YEAR, not_after=LAST_YEAR))),
        ("localhost", outdated),
        ("localhost", lambda: None),
    ],
    ids=["stranger", "other name", "common name", "address", "name", "other address", "expired", "TLS 1.1", "no TLS"],
)
async def test_a_provider_that_cannot_be_trusted_is_told_nothing(
    proxy: tuple[Master, int], tenant: Tenant, host: str, make: Callable[[], ssl.SSLContext | None]
) -> None:
    context = make()
    provider = Script(PLAIN, PLAIN) if context else Blunt(PLAIN, PLAIN)
    async with listening(provider, context) as at:
        tenant.publish(f"https://{host}:{at}")
        answer = await exchange(proxy[1], get(tenant, more="x-llm-proxy-retry: off\r\n"))

    assert code_of(answer) == (502, "upstream_error") and provider.heads == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_flows_tell_how_they_were_protected(proxy: tuple[Master, int], tenant: Tenant, host: str) -> None:
    seen: list[Server] = []

    class Witness:
        def response(self, flow: http.HTTPFlow) -> None:
            seen.append(flow.server_conn)

    proxy[0].addons.add(Witness())  # type: ignore[no-untyped-call]
    context = served(AUTHORITY.issue_cert(host))
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(Script(PLAIN, PLAIN), context) as at:
        tenant.publish(f"https://{host}:{at}")
        for _ in range(2):
            assert (await exchange(proxy[1], get(tenant))).endswith(b"{}")

    assert len(seen) == 2
    for server in seen:
        assert (server.tls, server.tls_established, server.sni) == (True, True, host)
        assert (server.alpn, server.tls_version, server.address) == (b"http/1.1", "TLSv1.3", (host, at))
        assert server.cipher and server.certificate_list[0].altnames
        assert server.timestamp_start and server.timestamp_tcp_setup and server.timestamp_tls_setup
        assert server.timestamp_start <= server.timestamp_tcp_setup <= server.timestamp_tls_setup
