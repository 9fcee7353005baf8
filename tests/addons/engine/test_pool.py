"""Rules of the pool: connections outlive the clients that used them, within limits, and only while they live."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from mitmproxy.addons.script import load_script
from mitmproxy.master import Master
from mitmproxy.options import Options

from addons.engine.line import Line
from addons.engine.master import EngineMaster
from addons.engine.pool import Pool
from addons.engine.provider_lines import Crowded, Limits, Origin, ProviderLines
from addons.telemetry import PoolCounts
from shared import settings
from tests.addons.runners import ADDONS, proxying
from tests.addons.test_attempts import Script
from tests.addons.test_proxy import PLAIN, Tenant, code_of, exchange, get
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture


class Borrower:
    """Uses a line as long as it likes."""

    def __init__(self, lines: ProviderLines, line: Line) -> None:
        self.lines, self.line = lines, line
        self.is_idle = False
        self.ended = asyncio.Event()
        lines.hand_out(line, self)

    def receive(self, received: bytes) -> None:
        """Nothing is asked here, so nothing comes."""

    def end(self, is_lost: bool) -> None:
        self.ended.set()

    def let_go(self) -> None:
        self.lines.give_back(self.line)


class Silent:
    """A provider that says nothing; `writers` are its connections."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.read()
        writer.close()


@asynccontextmanager
async def listening(provider: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A provider on a free port of this machine; what is connected to it when the block ends is cut off."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await provider(reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def pooled(limits: Limits, tell: Callable[[PoolCounts], None] = lambda counts: None) -> AsyncIterator[Pool]:
    """A pool that is left with nothing open."""
    pool = Pool(limits, tell)
    yield pool
    pool.abort()
    assert not pool.counts().idle
    await asyncio.sleep(0.01)


async def borrow(pool: Pool, port: int) -> Borrower:
    return Borrower(*await pool.borrow(Origin("127.0.0.1", port)))


async def until_lost(pool: Pool) -> None:
    async with asyncio.timeout(5):
        while pool.counts().open:
            await asyncio.sleep(0.01)


async def test_what_was_given_back_serves_the_next_one_last_used_first() -> None:
    async with listening(Silent()) as port, pooled(Limits()) as pool:
        first, second = await borrow(pool, port), await borrow(pool, port)
        first.let_go()
        second.let_go()

        assert (await borrow(pool, port)).line is second.line
        assert pool.counts() == PoolCounts(open=2, idle=1, dials=2, reuses=1)


async def test_a_line_that_the_provider_has_closed_is_not_handed_out() -> None:
    provider = Silent()
    async with listening(provider) as port, pooled(Limits()) as pool:
        (await borrow(pool, port)).let_go()
        provider.writers[0].close()
        await until_lost(pool)

        await borrow(pool, port)

        assert pool.counts() == PoolCounts(open=1, idle=0, dials=2, reuses=0)


async def test_a_line_on_which_something_unasked_came_is_not_handed_out() -> None:
    provider = Silent()
    async with listening(provider) as port, pooled(Limits()) as pool:
        (await borrow(pool, port)).let_go()
        provider.writers[0].write(b"HTTP/1.1 200 OK\r\n\r\n")
        await until_lost(pool)

        assert pool.counts() == PoolCounts(open=0, idle=0, dials=1, reuses=0)


async def test_a_user_hears_that_its_line_has_ended() -> None:
    provider = Silent()
    async with listening(provider) as port, pooled(Limits()) as pool:
        user = await borrow(pool, port)
        while not provider.writers:
            await asyncio.sleep(0.01)
        provider.writers[0].transport.abort()

        await asyncio.wait_for(user.ended.wait(), 5)
        user.lines.forget(user.line)


@pytest.mark.parametrize("limits", [Limits(idle_seconds=0), Limits(age_seconds=0)], ids=["idle", "old"])
async def test_what_is_idle_for_too_long_or_too_old_is_closed(limits: Limits) -> None:
    told: list[PoolCounts] = []
    async with listening(Silent()) as port, pooled(limits, told.append) as pool:
        (await borrow(pool, port)).let_go()
        pool.sweep()
        await until_lost(pool)
        pool.sweep()

        assert told[-1] == PoolCounts(open=0, idle=0, dials=1, reuses=0)


async def test_one_more_than_may_be_open_waits_and_one_more_than_may_wait_is_refused() -> None:
    async with listening(Silent()) as port, pooled(Limits(connections=1, queue=1)) as pool:
        first = await borrow(pool, port)
        waiting = asyncio.create_task(borrow(pool, port))
        await asyncio.sleep(0)
        with pytest.raises(Crowded):
            await borrow(pool, port)
        assert not waiting.done()

        first.let_go()

        assert (await waiting).line is first.line


async def test_who_gives_up_waiting_or_dialing_takes_no_place() -> None:
    async with listening(Silent()) as port, pooled(Limits(connections=1, queue=1)) as pool:
        first = await borrow(pool, port)
        for _ in range(3):
            waiting = asyncio.create_task(borrow(pool, port))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        first.lines.forget(first.line)
        for _ in range(3):
            dialing = asyncio.create_task(borrow(pool, port))
            await asyncio.sleep(0)
            dialing.cancel()
            await asyncio.wait([dialing])

        await asyncio.wait_for(borrow(pool, port), 5)
        assert pool.counts().open == 1


async def test_an_idle_line_is_taken_from_its_client_for_one_who_waits() -> None:
    async with listening(Silent()) as port, pooled(Limits(connections=1, queue=0)) as pool:
        first = await borrow(pool, port)
        first.is_idle = True

        assert (await borrow(pool, port)).line is first.line


async def test_a_provider_that_refuses_leaves_nothing_behind(unused_tcp_port: int) -> None:
    pool = Pool(Limits(connections=1, queue=0))
    for _ in range(3):
        with pytest.raises(OSError, match="refused|Connect call failed"):
            await borrow(pool, unused_tcp_port)
    pool.sweep()
    assert pool.counts().open == 0


def engine_with(limits: Limits) -> Any:
    def make(chosen: Options, scripts: list[str], more: dict[str, Any]) -> Master:
        rooms = [load_script(script) for script in scripts]
        master = EngineMaster(chosen, [room for room in rooms if room is not None], limits=limits)
        chosen.update(**more)
        return master

    return make


async def test_new_clients_cost_no_new_handshakes(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int, tenant: Tenant
) -> None:
    authority, trusted = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    provider = Script(*[PLAIN] * 20)
    more = {"ssl_verify_upstream_trusted_ca": str(trusted)}
    scripts = [str(ADDONS / "main.py")]

    async with (
        listening(provider, context) as port,
        proxying(unused_tcp_port, tmp_path, scripts, engine_with(Limits()), **more) as master,
    ):
        tenant.publish(f"https://localhost:{port}")
        answers = [await exchange(unused_tcp_port, get(tenant)) for _ in range(20)]
        assert isinstance(master, EngineMaster)
        counts = master.pool.counts()

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 20
    assert provider.connections == 1
    assert (counts.dials, counts.reuses) == (1, 19)


async def test_more_requests_than_the_worker_takes_are_refused_and_nothing_is_held_against_the_provider(
    configuration: settings.Settings, tmp_path: Path, unused_tcp_port: int, tenant: Tenant
) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        held.set()
        await release.wait()
        writer.write(PLAIN)
        writer.close()

    make = engine_with(Limits(connections=1, queue=0))
    async with (
        listening(provider) as port,
        proxying(unused_tcp_port, tmp_path, [str(ADDONS / "main.py")], make),
    ):
        tenant.publish(f"http://127.0.0.1:{port}")
        first = asyncio.create_task(exchange(unused_tcp_port, get(tenant)))
        await asyncio.wait_for(held.wait(), 5)
        refused = [await exchange(unused_tcp_port, get(tenant)) for _ in range(8)]
        release.set()
        answered = [await first, await exchange(unused_tcp_port, get(tenant))]

    assert {code_of(answer) for answer in refused} == {(503, "upstream_crowded")}
    assert all(b"retry-after: 1" in answer.lower() for answer in refused)
    assert [answer[:12] for answer in answered] == [b"HTTP/1.1 200"] * 2
