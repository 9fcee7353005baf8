"""How a worker takes leave of its clients, over real sockets: last answers, idle connections, clean ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addons.engine.leave import Leave
from addons.engine.master import EngineMaster
from shared import settings
from shared.models import Outcome
from tests.addons.runners import ADDONS, RUNNERS, proxying
from tests.addons.test_attempts import EVENT, SSE
from tests.addons.test_proxy import PLAIN, STREAM, Provider, Tenant, get, post, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture


@pytest.fixture
async def proxy(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[tuple[EngineMaster, int]]:
    async with proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")], RUNNERS["engine"]) as master:
        assert isinstance(master, EngineMaster)
        yield master, unused_tcp_port


def held(first: bytes, release: asyncio.Event, last: bytes) -> Provider:
    """A provider that begins its answers and ends them when it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            await release.wait()
            writer.write(last)
        writer.close()

    return answer


async def test_an_idle_connection_is_closed_after_a_grace_and_nobody_new_gets_in(
    proxy: tuple[EngineMaster, int],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"missing_token" in await asyncio.wait_for(reader.readuntil(b"}}"), 5)
    silent = await asyncio.open_connection("127.0.0.1", proxy[1])
    await asyncio.sleep(0.05)  # Until the silent one has been accepted.

    await asyncio.wait_for(Leave(proxy[0].listener).take(30), 5)

    assert (await reader.read(), await silent[0].read()) == (b"", b"")
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.close()
    silent[1].close()


async def test_the_answer_under_way_is_the_last_one_of_its_connection(
    proxy: tuple[EngineMaster, int], tenant: Tenant
) -> None:
    release = asyncio.Event()
    async with provided(held(b"", release, PLAIN)) as base_url:
        tenant.publish(base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(get(tenant))
        await asyncio.sleep(0.1)  # Until the provider has been asked.
        leaving = asyncio.create_task(Leave(proxy[0].listener).take(30))
        await asyncio.sleep(0.1)
        release.set()
        answer = await asyncio.wait_for(reader.read(), 5)
        await asyncio.wait_for(leaving, 5)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer.lower()


async def test_a_request_that_was_sent_just_before_is_answered(proxy: tuple[EngineMaster, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"}}"), 5)
    leaving = asyncio.create_task(Leave(proxy[0].listener).take(30))
    await asyncio.sleep(0.1)

    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)

    await asyncio.wait_for(leaving, 5)
    writer.close()
    assert b"missing_token" in answer and b"connection: close" in answer.lower()


async def test_a_stream_that_takes_too_long_ends_with_an_event_that_says_why(
    proxy: tuple[EngineMaster, int], tenant: Tenant
) -> None:
    never = asyncio.Event()
    async with provided(held(SSE + EVENT, never, b"")) as base_url:
        tenant.publish(base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(post(tenant, STREAM))
        await asyncio.wait_for(reader.readuntil(b"data: {}"), 5)
        await asyncio.wait_for(Leave(proxy[0].listener).take(0.2), 5)
        rest = await asyncio.wait_for(reader.read(), 5)
        never.set()
        writer.close()

    assert b"service_unavailable" in rest and b"restarted" in rest and rest.endswith(b"0\r\n\r\n")
    assert (await tenant.event()).outcome is Outcome.CUT
