"""Rules of the feed: bounded here and in Redis to the byte, the oldest goes there, what comes goes here."""

import asyncio
from collections.abc import Callable

import pytest
import redis

from addons.feed import BATCH_BYTES, MOST_RECORDS, STRANGERS_PART, Feed, Feeds
from addons.store import Store, StoreUnavailable
from shared import flow_schema, redis_schema
from shared.flow_schema import FLOWS, FLOWS_BYTES, FlowRecord, Message, Phase, decode_batch, encode_record


def record(request_id: str, text: str = "") -> bytes:
    return encode_record(
        FlowRecord(
            request_id, 1, Phase.ENDED, "w", 1.0, "p", "", "t", "", "openai", "openai", "chat", None, "POST",
            "http://x/", "HTTP/1.1", "", Message([("a", text)]),
        )
    )  # fmt: skip


class Sink:
    """Takes batches, or does not answer."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.sizes: list[int] = []
        self.bounds: dict[bool, int] = {}
        self.faults = 0
        self.fits = True

    async def feed(self, batch: bytes, most_bytes: int, is_of_strangers: bool = False) -> bool:
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable("away")
        self.bounds[is_of_strangers] = most_bytes
        self.taken.append([each.request_id for each in decode_batch({b"flows": batch})])
        self.sizes.append(len(batch))
        return self.fits


class Counts:
    def __init__(self) -> None:
        self.told = 0
        self.dropped: dict[str, int] = {}

    def flows_told(self, count: int) -> None:
        self.told += count

    def flows_dropped(self, reason: str, count: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count


@pytest.fixture
def counts() -> Counts:
    return Counts()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_belongs_together_goes_out_together(counts: Counts) -> None:
    sink = Sink()
    feed = Feed(sink, counts, 1 << 20)
    for name in "abc":
        feed.append(record(name))
    feed.close()

    feed.running()
    await until(lambda: counts.told == 3)
    feed.append(record("d"))
    await feed.done()

    assert sink.taken == [["a", "b", "c"], ["d"]]
    assert counts.told == 4


async def test_no_batch_is_larger_than_it_may_be(counts: Counts) -> None:
    sink = Sink()
    feed = Feed(sink, counts, 1 << 30)
    for number in range(40):
        feed.append(record(str(number), "x" * 30_000))

    await feed.done()

    assert [int(name) for batch in sink.taken for name in batch] == list(range(40))
    assert max(sink.sizes) <= BATCH_BYTES + 100


async def test_while_redis_is_away_a_bounded_number_is_kept_and_told_later(counts: Counts) -> None:
    sink = Sink()
    sink.faults = 1
    feed = Feed(sink, counts, 1 << 20, most_kept=1000)
    feed.append(record("a", "x" * 600))
    had_room = feed.has_room()
    feed.append(record("b", "x" * 600))
    feed.close()

    feed.running()
    is_full = not feed.has_room()
    await until(lambda: counts.told == 2)

    assert (had_room, is_full, feed.has_room()) == (True, True, True)
    assert sink.taken == [["a", "b"]]
    await feed.done()


async def test_who_was_not_let_in_takes_a_way_of_their_own(counts: Counts) -> None:
    sink = Sink()
    feeds = Feeds(sink, counts, 64 << 20)
    for _ in range(MOST_RECORDS // STRANGERS_PART):
        feeds.append(record("s"), True)
    feeds.append(record("a"), False)

    assert (feeds.has_room(True), feeds.has_room(False)) == (False, True)
    feeds.close()
    await feeds.done()
    assert counts.told == MOST_RECORDS // STRANGERS_PART + 1 and ["a"] in sink.taken
    assert sink.bounds == {False: 60 << 20, True: 4 << 20}


async def test_who_was_not_let_in_takes_a_part_of_the_bytes_only(counts: Counts) -> None:
    feeds = Feeds(Sink(), counts, 1 << 20)
    for number in range(9):
        feeds.append(record(str(number), "x" * 120_000), True)

    assert (feeds.has_room(True), feeds.has_room(False)) == (False, True)
    await feeds.done()
    assert feeds.has_room(True)


async def test_what_is_too_large_for_the_stream_is_counted(counts: Counts) -> None:
    sink = Sink()
    sink.fits = False
    feed = Feed(sink, counts, 10)
    feed.append(record("a"))

    await feed.done()

    assert (counts.told, counts.dropped) == (0, {"too_large": 1})


async def test_at_the_end_nobody_waits_long_for_redis(counts: Counts) -> None:
    sink = Sink()
    sink.faults = 1000
    feed = Feed(sink, counts, 1 << 20, flush_seconds=0.01)
    feed.append(record("a"))

    async with asyncio.timeout(2):
        await feed.done()

    assert counts.told == 0


# In Redis


def kept(client: redis.Redis) -> list[bytes]:
    return [entry[b"flows"] for _, entry in client.xrange(FLOWS)]


@pytest.fixture
def feed_of(redis_client: redis.Redis) -> Callable[[bytes, int], int]:
    script = redis_client.register_script(redis_schema.script("feed"))
    return lambda batch, most: int(script(*flow_schema.encode_feed(batch, most)))


def test_the_oldest_goes_when_there_is_no_room(feed_of: Callable[[bytes, int], int], redis_client: redis.Redis) -> None:
    gone = [feed_of(letter * 40, 100) for letter in (b"a", b"b", b"c")]

    assert gone == [0, 0, 1]
    assert kept(redis_client) == [b"b" * 40, b"c" * 40]
    assert redis_client.get(FLOWS_BYTES) == b"80"
    assert feed_of(b"d" * 100, 100) == 2
    assert kept(redis_client) == [b"d" * 100]


def test_what_is_larger_than_all_of_it_is_not_kept(
    feed_of: Callable[[bytes, int], int], redis_client: redis.Redis
) -> None:
    feed_of(b"a", 100)

    assert feed_of(b"b" * 101, 100) == -1
    assert kept(redis_client) == [b"a"]


@pytest.mark.parametrize("lost", [FLOWS, FLOWS_BYTES], ids=["stream", "count"])
def test_what_was_lost_is_counted_anew(
    lost: str, feed_of: Callable[[bytes, int], int], redis_client: redis.Redis
) -> None:
    feed_of(b"a" * 60, 100)
    redis_client.delete(lost)

    feed_of(b"b" * 30, 100)

    assert int(redis_client.get(FLOWS_BYTES)) == sum(map(len, kept(redis_client)))


def test_a_smaller_bound_holds_at_once(feed_of: Callable[[bytes, int], int], redis_client: redis.Redis) -> None:
    for _ in range(10):
        feed_of(b"a" * 10, 100)

    feed_of(b"b" * 10, 30)

    assert kept(redis_client) == [b"a" * 10, b"a" * 10, b"b" * 10]


async def test_the_store_feeds_and_says_when_it_cannot(valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 1000)

    is_taken, is_too_large = await store.feed(b"abc", 10), not await store.feed(b"abc", 2)
    redis_client.delete(FLOWS)
    redis_client.set(FLOWS, "something else")
    with pytest.raises(StoreUnavailable):
        await store.feed(b"abc", 10)
    await store.done()

    assert (is_taken, is_too_large) == (True, True)


async def test_a_held_request_is_shown_for_a_while(valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 1000)
    key = flow_schema.held_key("r1")

    await store.hold_record("r1", b"told", 5000)
    shown, left = redis_client.get(key), redis_client.pttl(key)
    await store.drop_record("r1")
    await store.done()

    assert (shown, redis_client.get(key)) == (b"told", None)
    assert 0 < left <= 5000


async def test_without_redis_the_store_says_so() -> None:
    away = Store.connect("unix:///nobody/listens/here.sock", 100)

    for asked in (away.feed(b"", 1), away.hold_record("r", b"", 1), away.drop_record("r")):
        with pytest.raises(StoreUnavailable):
            await asked
    await away.done()
