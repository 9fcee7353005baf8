"""Rules of requests of whose end nobody tells: they have ended if their worker is dead, or says that it runs none."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import redis
import redis.asyncio
from mitmproxy.addons.view import View

from addons.inspection.book import Book
from addons.inspection.bounds import Bounds
from addons.inspection.untold import Untold
from shared import live_schema, redis_schema, redis_servers
from shared.live_schema import RunningRequest, Snapshot, State
from tests.flow_records import ended, held, record, request_id, streaming

WORKER = record().worker


@pytest.fixture
def book() -> Book:
    return Book(View(), Bounds(100, 1 << 20), "http://manager")


@pytest.fixture
async def untold(book: Book, valkey_url: str, redis_client: redis.Redis) -> AsyncIterator[Untold]:
    client = redis.asyncio.Redis.from_pool(redis_servers.async_pool(valkey_url, 5, 4))
    yield Untold(client, book, quiet_seconds=0)
    await client.aclose()


def is_there(client: redis.Redis, ago_s: float = 0) -> None:
    client.zadd(redis_schema.WORKERS, {WORKER: (time.time() - ago_s) * 1000})


def tells(client: redis.Redis, *ids: str, count: int = 0) -> None:
    now = datetime.now(UTC)
    running = [
        RunningRequest(each, "p", "t", "", "openai", "", None, now, True, State.STREAMING, 1, 1, None) for each in ids
    ]
    snapshot = Snapshot(now, {"p": count or len(ids)}, running)
    client.set(live_schema.snapshot_key(WORKER), live_schema.encode_snapshot(snapshot))


def outcome(book: Book, number: int = 1) -> tuple[bool, str, str]:
    known = book.find(request_id(number))
    assert known is not None
    return known.flow.live, known.record.outcome, str(known.flow.error or "")


@pytest.mark.parametrize("ago_s", [None, 60], ids=["unheard of", "quiet for a minute"])
async def test_of_a_worker_that_died_nothing_runs(
    untold: Untold, book: Book, redis_client: redis.Redis, ago_s: float | None
) -> None:
    if ago_s is not None:
        is_there(redis_client, ago_s)
    book.take([streaming(1), ended(2)])

    await untold.look()
    assert outcome(book)[0], "One look might have come just when Redis had been restarted."
    await untold.look()

    assert outcome(book) == (False, "lost", "Its worker died.")
    assert outcome(book, 2)[1] == "finished" and "outcome=lost" in book.find(request_id(1)).flow.comment  # type: ignore[union-attr]


async def test_what_a_dead_worker_held_is_held_no_longer(untold: Untold, book: Book) -> None:
    book.take([held(1)])

    await untold.look()
    await untold.look()
    book.take([record(number) for number in range(2, 102)])

    assert book.find(request_id(1)) is None, "It goes like any other."


async def test_what_a_worker_says_it_runs_runs_and_all_else_has_ended(
    untold: Untold, book: Book, redis_client: redis.Redis
) -> None:
    is_there(redis_client)
    book.take([streaming(1), streaming(2)])
    tells(redis_client, request_id(1))

    await untold.look()
    await untold.look()

    assert outcome(book, 1)[:2] == (True, "")
    assert outcome(book, 2) == (False, "untold", "It has ended; how, has not been told.")


@pytest.mark.parametrize("told", ["nothing", "only some"])
async def test_who_has_not_told_of_all_is_believed_to_run_them(
    untold: Untold, book: Book, redis_client: redis.Redis, told: str
) -> None:
    is_there(redis_client)
    book.take([streaming(1)])
    if told == "only some":
        tells(redis_client, request_id(2), count=1001)

    await untold.look()
    await untold.look()

    assert outcome(book)[0] and redis_client.exists(live_schema.WATCHED)


async def test_what_is_told_after_all_is_shown_as_it_is_told(untold: Untold, book: Book) -> None:
    book.take([streaming(1)])
    await untold.look()
    await untold.look()

    book.take([streaming(1, revision=3)])
    assert outcome(book)[:2] == (True, "")
    book.take([ended(1, revision=4)])

    assert outcome(book)[:2] == (False, "finished") and book.quiet(0) == []


async def test_nobody_is_asked_while_nothing_is_quiet(
    book: Book, valkey_url: str, redis_client: redis.Redis, untold: Untold
) -> None:
    book.take([ended(1)])

    await untold.look()

    assert not redis_client.exists(live_schema.WATCHED)


async def test_without_redis_nothing_is_known_to_have_ended(book: Book) -> None:
    client = redis.asyncio.Redis.from_pool(redis_servers.async_pool("redis://127.0.0.1:1", 0.1, 1))
    alone = Untold(client, book, quiet_seconds=0)
    book.take([streaming(1)])

    await alone.look()
    await alone.look()
    await client.aclose()

    assert outcome(book)[0]
