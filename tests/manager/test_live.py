"""Rules of what is in flight: told by workers that are watched, oldest first, and cut by its id."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
import redis

from manager import live
from manager.errors import Invalid, NotFound
from manager.principals import Scope
from shared import live_schema, redis_schema
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID
from tests.manager.live_workers import Ear, Workers, running

OTHER = uuid.UUID(int=7)
ONLY_OTHER = Scope(frozenset([OTHER]))


@pytest.fixture
def workers(redis_client: redis.Redis) -> Workers:
    return Workers(redis_client)


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_client)
    yield made
    made.close()


# Watching


def test_who_watches_is_forgotten_after_some_seconds(redis_client: redis.Redis) -> None:
    assert (live.watch(redis_client), live.watch(redis_client)) == (False, True)
    assert 0 < redis_client.pttl(live_schema.WATCHED) <= live_schema.WATCHED_MS


def test_what_is_in_flight_is_told_oldest_first_of_all_workers(workers: Workers) -> None:
    workers.tell("host:1", running("r1"), running("r3", 3))
    workers.tell("host:2", running("r2", 2))

    found = live.requests(workers.client)

    assert [(request.request_id, request.worker) for request in found] == [
        ("r1", "host:1"),
        ("r2", "host:2"),
        ("r3", "host:1"),
    ]


def test_all_are_counted_though_some_are_not_told(workers: Workers) -> None:
    workers.tell("host:1", running("r1"), counts={str(PROJECT_ID): 1200, str(OTHER): 34})
    workers.tell("host:2")

    found = live.picture(workers.client)

    assert (len(found.items), found.count, found.is_whole) == (1, 1234, True)
    assert [(worker.name, worker.told_at, worker.count) for worker in found.workers] == [
        ("host:1", NOW, 1234),
        ("host:2", NOW, 0),
    ]


def test_a_scope_sees_and_counts_its_projects_alone(workers: Workers) -> None:
    workers.tell(
        "host:1", running("r1"), running("r2", project_id=str(OTHER)), counts={str(PROJECT_ID): 9, str(OTHER): 1}
    )

    found = live.picture(workers.client, ONLY_OTHER)

    assert ([request.request_id for request in found.items], found.count) == (["r2"], 1)
    assert [worker.count for worker in found.workers] == [1]


@pytest.mark.parametrize("told", [None, b"\xff"], ids=["nothing", "what nobody understands"])
def test_a_worker_that_told_nothing_is_there_all_the_same(workers: Workers, told: bytes | None) -> None:
    workers.appear("host:1")
    if told is not None:
        workers.client.set(live_schema.snapshot_key("host:1"), told)

    found = live.picture(workers.client)

    assert ([*found.items], found.count, found.is_whole) == ([], 0, False)
    assert [(worker.name, worker.told_at) for worker in found.workers] == [("host:1", None)]


def test_what_a_worker_told_that_has_left_is_not_shown(workers: Workers) -> None:
    workers.tell("host:1", running("r1"))
    workers.client.zrem(redis_schema.WORKERS, "host:1")

    assert live.requests(workers.client) == [] and live.picture(workers.client).workers == []


def test_who_is_the_first_to_watch_waits_for_the_workers(workers: Workers, valkey_url: str) -> None:
    workers.appear("host:1")
    # A worker that tells as soon as somebody watches.
    telling = threading.Thread(target=tell_when_watched, args=(valkey_url,))
    telling.start()

    found = live.look(workers.client, patience=10)

    telling.join()
    assert [request.request_id for request in found.items] == ["r1"]


def tell_when_watched(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        while not client.exists(live_schema.WATCHED):
            time.sleep(0.01)
        time.sleep(0.1)
        Workers(client).tell("host:1", running("r1"))


def test_nobody_waits_for_long_and_only_the_first(workers: Workers) -> None:
    workers.appear("host:1")

    began = time.monotonic()
    live.look(workers.client, patience=0.2)
    first, began = time.monotonic() - began, time.monotonic()
    live.look(workers.client, patience=60)

    assert first >= 0.2 and time.monotonic() - began < 10


# Cutting


def test_what_is_held_is_found_though_nobody_watches(workers: Workers) -> None:
    workers.hold("r1")

    assert live.find(workers.client, "r1") == live.InFlight("r1", PROJECT_ID, TOKEN_ID)


def test_what_is_not_held_yet_is_found_where_it_is_told(workers: Workers) -> None:
    workers.tell("host:1", running("r0"), running("r1"))

    assert live.find(workers.client, "r1") == live.InFlight("r1", PROJECT_ID, TOKEN_ID)


@pytest.mark.parametrize("request_id", ["r2", "", "broken", "odd", "\0", "é" * 100])
def test_what_is_not_in_flight_is_not_found(workers: Workers, request_id: str) -> None:
    workers.hold("r1")
    workers.hold("odd", project_id="no id")
    workers.client.hset(redis_schema.HOLDS, "broken", b"{}")
    workers.tell("host:1", running("odd", token_id="no id"))

    with pytest.raises(NotFound):
        live.find(workers.client, request_id)


def test_what_is_out_of_scope_is_not_found(workers: Workers) -> None:
    workers.hold("r1")
    workers.tell("host:1", running("r2"))

    for request_id in ("r1", "r2"):
        with pytest.raises(NotFound):
            live.find(workers.client, request_id, ONLY_OTHER)


def test_every_worker_hears_of_a_cut(redis_client: redis.Redis, ear: Ear) -> None:
    live.cut(redis_client, "r1")

    assert ear.cuts() == ["r1"]


def test_a_reason_is_printable_text_of_some_length() -> None:
    assert live.check_reason("  runs in circles – again ") == "runs in circles – again"
    assert live.check_reason("") == "" and len(live.check_reason("x" * 500)) == 500


@pytest.mark.parametrize("reason", ["x" * 501, "a\nb", "\0", "\ud800"], ids=["long", "newline", "nul", "surrogate"])
def test_anything_else_is_no_reason(reason: str) -> None:
    with pytest.raises(Invalid) as raised:
        live.check_reason(reason)

    assert raised.value.field == "reason"
