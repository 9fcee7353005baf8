"""How a worker takes leave of HTTP/2 clients: running streams end well, and the connection with them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import trustme

from addons.engine.leave import Leave
from addons.engine.master import EngineMaster
from shared import settings
from tests.addons.engine.test_leave import held
from tests.addons.runners import ADDONS, RUNNERS, proxying
from tests.addons.test_attempts import EVENT, SSE
from tests.addons.test_proxy import Tenant, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture


@pytest.fixture
async def proxy(
    configuration: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[EngineMaster, str]]:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "proxy.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("LLM_PROXY_TLS_FILE", str(tmp_path / "proxy.pem"))
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")], RUNNERS["engine"]) as master:
        assert isinstance(master, EngineMaster)
        yield master, f"https://127.0.0.1:{unused_tcp_port}"


async def test_a_stream_under_way_is_finished_and_its_connection_closed(
    proxy: tuple[EngineMaster, str], tenant: Tenant, tmp_path: Path
) -> None:
    release = asyncio.Event()
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    headers = {"authorization": f"Bearer {tenant.secret}"}
    ask = {"model": "m", "messages": [], "stream": True}
    async with (
        provided(held(SSE + EVENT, release, EVENT + b"0\r\n\r\n")) as base_url,
        httpx2.AsyncClient(http2=True, verify=context, base_url=proxy[1], headers=headers) as client,
    ):
        tenant.publish(base_url)
        async with client.stream("POST", "/v1/chat/completions", json=ask) as answer:
            chunks = answer.aiter_bytes()
            received = await anext(chunks)
            leaving = asyncio.create_task(Leave(proxy[0].listener).take(30))
            await asyncio.sleep(0.1)
            release.set()
            async for chunk in chunks:
                received += chunk
        await asyncio.wait_for(leaving, 5)

    assert answer.http_version == "HTTP/2" and received.count(b"data: {}") == 2
