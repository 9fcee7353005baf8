"""Rules of tallies: the same in Redis and in memory, bounded, and in memory for a while when Redis has failed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from manager import tallies
from manager.stores import connect_redis
from manager.tallies import AWAY_SECONDS, MOST_NAMES, OTHERS, MemoryTallies, RedisTallies, SafeTallies, Tallies
from shared import redis_schema
from tests.manager.conftest import NOBODY


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["redis", "memory", "safe"])
def counted(request: pytest.FixtureRequest, redis_client: redis.Redis) -> Tallies:
    """Each kind."""
    makers: dict[str, Callable[[], Tallies]] = {
        "redis": lambda: RedisTallies(redis_client),
        "memory": MemoryTallies,
        "safe": lambda: SafeTallies(redis_client),
    }
    return makers[request.param]()


def test_hits_are_counted_by_name(counted: Tallies) -> None:
    assert [counted.hit(name, 60) for name in ("a", "a", "b", "a")] == [1, 2, 1, 3]

    count, left = counted.look("a")
    assert count == 3 and 58 < left <= 60
    assert counted.look("c") == (0, 0)


def test_hits_are_forgotten_some_time_after_the_first(counted: Tallies) -> None:
    counted.hit("a", 1)
    time.sleep(0.6)
    assert counted.hit("a", 1) == 2
    time.sleep(0.6)

    assert counted.look("a") == (0, 0) and counted.hit("a", 1) == 1


def test_a_turn_comes_once_in_its_time(counted: Tallies) -> None:
    assert [counted.turn(name, 60) for name in ("a", "a", "b")] == [True, False, True]


def test_what_is_piled_up_is_taken_once(counted: Tallies) -> None:
    for name in ("a", "b", "a"):
        counted.pile(name)

    assert sorted(counted.piled()) == ["a", "b"]
    assert [counted.take("a"), counted.take("a"), counted.take("c")] == [2, 0, 0] and counted.piled() == ["b"]


def test_more_names_than_there_is_room_for_are_piled_up_as_one(counted: Tallies, redis_client: redis.Redis) -> None:
    if not isinstance(counted, MemoryTallies):
        redis_client.hset(f"{tallies.PREFIX}pile", mapping={str(number): 1 for number in range(MOST_NAMES)})
    else:
        for number in range(MOST_NAMES):
            counted.pile(str(number))

    for name in ("x", "7", "y"):
        counted.pile(name)

    assert (counted.take("x"), counted.take("7"), counted.take(OTHERS)) == (0, 2, 2)


def test_everything_lies_where_our_data_lies_and_ends(redis_client: redis.Redis) -> None:
    counted = RedisTallies(redis_client)
    counted.hit("a", 60)
    counted.turn("b", 60)
    counted.pile("c")

    keys = sorted(redis_client.keys())
    assert all(key.startswith(redis_schema.PREFIX.encode()) for key in keys)
    assert [redis_client.ttl(key) > 0 for key in keys] == [True, True, False]


# In memory


def test_memory_keeps_a_bounded_number_of_names_and_forgets_the_ended_and_the_oldest_first() -> None:
    clock = Clock()
    memory = MemoryTallies(clock)
    memory.hit("ended", 1)
    memory.hit("old", 60)
    clock.now += 2
    for number in range(MOST_NAMES - 1):
        memory.hit(str(number), 60)
    assert memory.look("old")[0] == 1 and memory.hit("0", 60) == 2

    memory.hit("one more", 60)

    assert memory.look("old")[0] == 0 and memory.look("one more")[0] == 1 and memory.look("1")[0] == 1


# When Redis is away


@pytest.fixture
def away() -> Iterator[redis.Redis]:
    client = connect_redis(NOBODY)
    yield client
    client.close()


def test_without_redis_everything_is_counted_in_memory(away: redis.Redis) -> None:
    safe = SafeTallies(away)

    assert [safe.hit("a", 60), safe.hit("a", 60), safe.look("a")[0]] == [1, 2, 2]
    assert safe.turn("b", 60) and not safe.turn("b", 60) and not safe.is_shared()
    safe.pile("c")
    assert safe.piled() == ["c"] and safe.take("c") == 1 and safe.take("c") == 0


def test_redis_is_left_alone_for_a_while_after_it_failed_and_then_tried_again(redis_client: redis.Redis) -> None:
    clock = Clock()
    safe = SafeTallies(redis_client, clock)
    redis_client.set(f"{tallies.PREFIX}a", "no number", ex=60)
    assert safe.hit("a", 60) == 1 and not safe.is_shared()
    redis_client.delete(f"{tallies.PREFIX}a")

    clock.now += AWAY_SECONDS - 0.1
    assert safe.hit("a", 60) == 2 and not redis_client.exists(f"{tallies.PREFIX}a")
    clock.now += 0.2

    assert safe.hit("a", 60) == 1 and safe.is_shared() and redis_client.get(f"{tallies.PREFIX}a") == b"1"


def test_what_was_piled_up_meanwhile_is_taken_later(redis_client: redis.Redis) -> None:
    clock = Clock()
    safe = SafeTallies(redis_client, clock)
    redis_client.set(f"{tallies.PREFIX}pile", "no hash")
    safe.pile("a")
    redis_client.delete(f"{tallies.PREFIX}pile")
    clock.now += AWAY_SECONDS + 1
    safe.pile("a")

    assert safe.take("a") == 2
