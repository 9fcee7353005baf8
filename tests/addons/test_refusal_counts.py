"""Rules of refusal counts: all are told, however Redis behaves, in bounded memory."""

import asyncio
from collections.abc import Mapping

import redis

from addons.refusal_counts import RefusalCounts
from addons.store import Store, StoreUnavailable
from shared import redis_schema


class Sink:
    """Takes counts, or does not answer."""

    def __init__(self) -> None:
        self.taken: list[dict[tuple[str, str], int]] = []
        self.is_away = False
        self.told = asyncio.Event()

    async def count_refusals(self, counts: Mapping[tuple[str, str], int]) -> None:
        self.told.set()
        if self.is_away:
            raise StoreUnavailable("away")
        self.taken.append(dict(counts))


async def told(sink: Sink) -> None:
    sink.told.clear()
    await asyncio.wait_for(sink.told.wait(), 5)


async def test_refusals_are_added_up_and_told() -> None:
    sink = Sink()
    room = RefusalCounts(sink, pause=0.001)
    for _ in range(3):
        room.note("p1", "token_expired")
    room.note("", "token_not_found")

    room.running()
    await told(sink)
    await room.done()

    assert sink.taken == [{("p1", "token_expired"): 3, ("", "token_not_found"): 1}]


async def test_what_comes_before_the_end_is_told_at_the_end() -> None:
    sink = Sink()
    room = RefusalCounts(sink)
    room.note("p1", "token_expired")

    await room.done()

    assert sink.taken == [{("p1", "token_expired"): 1}]


async def test_what_redis_did_not_take_is_told_later_together_with_the_rest() -> None:
    sink = Sink()
    sink.is_away = True
    room = RefusalCounts(sink, pause=0.001)
    room.running()
    room.note("p1", "token_expired")
    await told(sink)
    room.note("p1", "token_expired")
    await told(sink)

    sink.is_away = False
    await told(sink)
    await room.done()

    assert sum(count for counts in sink.taken for count in counts.values()) == 2


async def test_beyond_a_number_of_projects_only_codes_are_counted() -> None:
    sink = Sink()
    room = RefusalCounts(sink, most_counted=2)
    for project_id in ("p1", "p2", "p3", "p4", "p1"):
        room.note(project_id, "token_expired")

    await room.done()

    code = "token_expired"
    assert sink.taken == [{("p1", code): 2, ("p2", code): 1, ("", code): 2}]


async def test_the_store_adds_them_up_for_all_workers(valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 5000)
    for _ in range(2):
        await store.count_refusals({("p1", "token_expired"): 3, ("", "token_not_found"): 1})
    await store.done()

    found = redis_client.hgetall(redis_schema.REFUSALS)
    assert {redis_schema.decode_refusal(field): int(count) for field, count in found.items()} == {
        ("p1", "token_expired"): 6,
        ("", "token_not_found"): 2,
    }
