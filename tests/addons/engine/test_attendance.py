"""The life of a client's connection: how it begins, what it waits for and how it ends, on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.options import Options
from mitmproxy.proxy import layer

from addons.breakers import Breakers
from addons.call import Calls
from addons.engine.master import EngineMaster
from addons.forward import Forward
from addons.interrupts import Interrupts
from addons.recovery import Recovery
from addons.route_table import RouteTable
from addons.targets import Targets
from addons.upstream import Upstream
from tests.addons.test_credentials import free_probe

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Workers run on uvloop, whose transports are its own."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Doorman:
    """A room that answers all by itself; clients are let in by `door`, or turned away."""

    def __init__(self, calls: Calls) -> None:
        breakers = Breakers(lambda change: None, free_probe, lambda *change: None)
        recovery = Recovery(calls, breakers, Targets(breakers), lambda *failure: None, lambda provider: None)
        self.master: EngineMaster | None = None
        forward = Forward(calls, RouteTable())
        self._upstream = Upstream(calls, recovery, Interrupts(self._handlers), self._handlers, forward)  # type: ignore[arg-type]
        self.door = asyncio.Event()
        self.door.set()
        self.turns_away = False
        self.heard: list[str] = []
        self.gone = asyncio.Event()

    def _handlers(self) -> object:
        return self.master.listener.connections if self.master else {}

    def next_layer(self, choice: layer.NextLayer) -> None:
        self._upstream.next_layer(choice)

    async def client_connected(self, client: Client) -> None:
        self.heard.append("connected")
        client.error = "turned away" if self.turns_away else None
        await self.door.wait()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.heard.append("asked")
        flow.response = http.Response.make(200, b"{}")

    async def client_disconnected(self, client: Client) -> None:
        await self._upstream.client_disconnected(client)
        self.heard.append("disconnected")
        self.gone.set()


@pytest.fixture
def doorman(calls: Calls) -> Doorman:
    return Doorman(calls)


@asynccontextmanager
async def serving(doorman: Doorman, port: int, folder: Path, **more: object) -> AsyncIterator[int]:
    chosen = Options(listen_host="127.0.0.1", listen_port=port, confdir=str(folder))
    master = doorman.master = EngineMaster(chosen, [doorman])
    chosen.update(connection_strategy="lazy", **more)
    ready = asyncio.Event()
    running = asyncio.create_task(master.run(ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield port
    finally:
        assert not master.listener.connections
        master.shutdown()  # type: ignore[no-untyped-call]
        await running


@pytest.fixture
async def port(doorman: Doorman, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[int]:
    async with serving(doorman, unused_tcp_port_factory(), tmp_path) as port:
        yield port


async def until_gone(doorman: Doorman) -> None:
    await asyncio.wait_for(doorman.gone.wait(), 5)
    await asyncio.sleep(0)  # Until the connection is forgotten.


async def test_a_client_is_announced_served_and_forgotten(doorman: Doorman, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(ASK)
        assert b"200" in await asyncio.wait_for(reader.readuntil(b"{}"), 5)
    writer.close()
    await until_gone(doorman)

    assert doorman.heard == ["connected", "asked", "asked", "disconnected"]


async def test_what_a_client_says_before_it_is_let_in_is_not_lost(doorman: Doorman, port: int) -> None:
    doorman.door.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in (ASK[:9], ASK[9:]):
        writer.write(piece)
        await asyncio.sleep(0.05)
    assert doorman.heard == ["connected"]

    doorman.door.set()

    assert b"200" in await asyncio.wait_for(reader.readuntil(b"{}"), 5)
    writer.close()
    await until_gone(doorman)


async def test_a_client_that_leaves_before_it_is_let_in_leaves_nothing(doorman: Doorman, port: int) -> None:
    doorman.door.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.abort()
    await asyncio.sleep(0.05)

    doorman.door.set()

    await until_gone(doorman)
    assert doorman.heard == ["connected", "disconnected"]


async def test_a_client_that_is_turned_away_is_closed(doorman: Doorman, port: int) -> None:
    doorman.turns_away = True
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    assert await asyncio.wait_for(reader.read(), 5) == b""

    writer.close()
    await until_gone(doorman)
    assert doorman.heard == ["connected", "disconnected"]


async def test_any_number_of_requests_sent_ahead_is_answered(doorman: Doorman, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((ASK + POST) * 500)

    async with asyncio.timeout(20):
        for _ in range(1000):
            assert b"connection: close" not in await reader.readuntil(b"{}")

    writer.close()
    await until_gone(doorman)


@pytest.mark.parametrize("ending", ["half-closed", "reset"])
async def test_a_client_that_ends_is_forgotten_however_it_does(doorman: Doorman, port: int, ending: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    await asyncio.wait_for(reader.readuntil(b"{}"), 5)

    if ending == "reset":
        writer.transport.abort()
    else:
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""

    await until_gone(doorman)
    writer.close()


async def test_a_client_that_says_nothing_for_too_long_is_closed(
    doorman: Doorman, tmp_path: Path, unused_tcp_port: int
) -> None:
    async with serving(doorman, unused_tcp_port, tmp_path, tcp_timeout=1):
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)

        assert await asyncio.wait_for(reader.read(), 5) == b""

        writer.close()
        await until_gone(doorman)
