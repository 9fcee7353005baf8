"""Sockets that mitmproxy's handlers have forgotten are closed: in a while, and at the latest when the worker ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from mitmproxy import options
from mitmproxy.connection import Server
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.tools.dump import DumpMaster

from addons.sweeper import Sweeper


@pytest.fixture
async def forgetful() -> AsyncIterator[tuple[ProxyConnectionHandler, asyncio.StreamReader]]:
    """A handler that has left a connection behind, and what the other side of this hears."""
    arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda *streams: arrived.set_result(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard, peer = await arrived
    chosen = options.Options()
    master = DumpMaster(chosen, with_termlog=False, with_dumper=False)
    handler = ProxyConnectionHandler(master, heard, peer, chosen, ProxyMode.parse("reverse:http://upstream.invalid"))
    handler.transports.clear()
    handler.transports[Server(address=("127.0.0.1", port))] = ConnectionIO(reader=reader, writer=writer)
    yield handler, heard
    peer.close()
    server.close()


async def test_what_a_handler_has_left_is_closed_in_a_while(
    forgetful: tuple[ProxyConnectionHandler, asyncio.StreamReader],
) -> None:
    handler, heard = forgetful
    sweeper = Sweeper(grace_seconds=0.05)

    sweeper.plan(handler)
    await asyncio.sleep(0)
    assert not heard.at_eof()

    assert await asyncio.wait_for(heard.read(), 5) == b""


async def test_what_a_handler_has_left_is_closed_when_the_worker_ends(
    forgetful: tuple[ProxyConnectionHandler, asyncio.StreamReader],
) -> None:
    handler, heard = forgetful
    sweeper = Sweeper(grace_seconds=1000)

    sweeper.plan(handler)
    sweeper.plan(handler)
    sweeper.finish()
    sweeper.finish()

    assert await asyncio.wait_for(heard.read(), 5) == b""
