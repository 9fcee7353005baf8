"""Rules of collecting: each usage event is recorded exactly once, whoever dies when, and nothing unreadable is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db, projects, publications, rollup
from manager.collector import ABANDONED_MS, BATCH, Collector, lag, record_unread
from manager.publications import Name
from manager.publisher import Publisher
from manager.publishing import WrongRedis
from manager.tables import DailyUsage, HourlyUsage, Price, Project, Request, new_id
from shared import redis_schema
from shared.models import UsageEvent
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, Rows, numbered

STREAM, GROUP = redis_schema.USAGE_STREAM, redis_schema.USAGE_GROUP
DEAD = redis_schema.USAGE_DEAD_LETTERS


@pytest.fixture(autouse=True)
def project(rows: Rows) -> Project:
    """The project of all events."""
    return rows.project(id=PROJECT_ID)


@pytest.fixture
def collector(redis_client: redis.Redis, sessions: db.Sessions) -> Collector:
    """A collector whose group exists."""
    redis_client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    return Collector(redis_client, sessions)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[db.Sessions]:
    """Sessions on a database that has no tables."""
    engine = db.create_engine(f"sqlite:///{tmp_path}/empty.db")
    yield db.create_sessions(engine)
    engine.dispose()


def append(client: redis.Redis, *events: UsageEvent) -> None:
    """Append events as the data plane does."""
    with client.pipeline() as pipeline:
        for event in events:
            pipeline.xadd(STREAM, redis_schema.encode_event(event))
        pipeline.execute()


def take(client: redis.Redis, idle_ms: int = ABANDONED_MS) -> None:
    """Take every new entry as another collector that then is silent for some time."""
    client.xreadgroup(GROUP, "the dead one", {STREAM: ">"})
    ids = [entry["message_id"] for entry in client.xpending_range(STREAM, GROUP, "-", "+", 1000)]
    client.xclaim(STREAM, GROUP, "the dead one", 0, ids, idle=idle_ms)


def pending(client: redis.Redis) -> int:
    count: int = client.xpending(STREAM, GROUP)["pending"]
    return count


def request_ids(rows: Rows) -> list[str]:
    return [row.request_id for row in rows.all(Request)]


# Collecting


def test_the_first_collector_makes_the_group_and_misses_nothing_from_before(
    redis_client: redis.Redis, sessions: db.Sessions, rows: Rows
) -> None:
    collector = Collector(redis_client, sessions)
    append(redis_client, EVENT)

    counts = [collector.collect_once(1), collector.collect_once(1)]

    assert counts == [0, 1]
    assert request_ids(rows) == ["r1"]


def test_a_flushed_redis_gets_its_group_again(redis_client: redis.Redis, collector: Collector, rows: Rows) -> None:
    redis_client.flushall()
    append(redis_client, EVENT)

    assert [collector.collect_once(1), collector.collect_once(1)] == [0, 1]


def test_an_empty_stream_brings_nothing(collector: Collector, rows: Rows) -> None:
    assert collector.collect_once(1) == 0
    assert request_ids(rows) == []


@pytest.mark.parametrize("block_ms", [0, -1])
def test_a_collector_never_waits_for_ever(collector: Collector, block_ms: int) -> None:
    assert collector.collect_once(block_ms) == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_events_are_recorded_and_taken_off_the_stream_under_either_protocol(
    redis_client: redis.Redis, valkey_url: str, collector: Collector, sessions: db.Sessions, rows: Rows, protocol: int
) -> None:
    client = redis.Redis.from_url(valkey_url, protocol=protocol)
    append(redis_client, *numbered(3))

    new = Collector(client, sessions).collect_once(1)

    assert new == 3
    assert request_ids(rows) == ["r00000", "r00001", "r00002"]
    assert (redis_client.xlen(STREAM), pending(redis_client)) == (0, 0)
    client.close()


def test_a_batch_has_an_end(redis_client: redis.Redis, collector: Collector) -> None:
    append(redis_client, *numbered(BATCH + 1))

    assert [collector.collect_once(1) for _ in range(3)] == [BATCH, 1, 0]


def test_the_lag_is_what_has_not_been_recorded(redis_client: redis.Redis, collector: Collector) -> None:
    append(redis_client, *numbered(2))
    take(redis_client, 0)
    append(redis_client, EVENT)

    lags = [lag(redis_client), collector.collect_once(1), lag(redis_client)]

    assert lags == [3, 1, 2]


# Exactly once


def test_the_same_request_in_one_batch_counts_once(redis_client: redis.Redis, collector: Collector, rows: Rows) -> None:
    append(redis_client, EVENT, EVENT)

    assert collector.collect_once(1) == 1
    assert [row.requests for row in rows.all(HourlyUsage)] == [1]
    assert lag(redis_client) == 0


def test_the_same_request_in_two_batches_counts_once(
    redis_client: redis.Redis, collector: Collector, rows: Rows
) -> None:
    append(redis_client, EVENT)
    collector.collect_once(1)
    append(redis_client, EVENT, replace(EVENT, request_id="r2"))

    assert collector.collect_once(1) == 1
    assert [row.requests for row in rows.all(HourlyUsage)] == [2]
    assert lag(redis_client) == 0


def test_what_a_dead_collector_took_is_recorded_by_another(
    redis_client: redis.Redis, collector: Collector, rows: Rows
) -> None:
    append(redis_client, *numbered(2))
    take(redis_client)

    assert collector.collect_once(1) == 2
    assert (redis_client.xlen(STREAM), pending(redis_client)) == (0, 0)


def test_what_another_collector_has_just_taken_is_left_to_it(
    redis_client: redis.Redis, collector: Collector, rows: Rows
) -> None:
    append(redis_client, EVENT)
    take(redis_client, ABANDONED_MS // 2)

    assert collector.collect_once(1) == 0
    assert request_ids(rows) == [] and pending(redis_client) == 1


def test_what_a_collector_recorded_before_it_died_is_finished_and_not_counted_again(
    redis_client: redis.Redis, sessions: db.Sessions, collector: Collector, rows: Rows
) -> None:
    append(redis_client, EVENT)
    take(redis_client)
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(EVENT)])

    assert collector.collect_once(1) == 0
    assert [row.requests for row in rows.all(HourlyUsage)] == [1]
    assert lag(redis_client) == 0


def test_an_event_stays_on_the_stream_until_it_is_committed(
    redis_client: redis.Redis, engine: sa.Engine, collector: Collector
) -> None:
    append(redis_client, EVENT)
    at_commit: list[tuple[int, int]] = []
    sa.event.listen(engine, "commit", lambda _: at_commit.append((lag(redis_client), pending(redis_client))))

    collector.collect_once(1)

    assert at_commit == [(1, 1)]
    assert (lag(redis_client), pending(redis_client)) == (0, 0)


def test_what_sql_refuses_stays_and_is_recorded_later(
    redis_client: redis.Redis, broken: db.Sessions, collector: Collector, rows: Rows
) -> None:
    append(redis_client, EVENT)

    with pytest.raises(SQLAlchemyError):
        Collector(redis_client, broken).collect_once(1)

    assert (redis_client.xlen(STREAM), pending(redis_client)) == (1, 1)
    take(redis_client)
    assert collector.collect_once(1) == 1


def test_two_collectors_share_the_work_and_count_everything_once(
    redis_client: redis.Redis, sessions: db.Sessions, collector: Collector, rows: Rows
) -> None:
    append(redis_client, *numbered(1200), *numbered(1200))

    with ThreadPoolExecutor(2) as threads:
        names = ["one", "two"]
        shares = list(threads.map(lambda name: drain(redis_client, Collector(redis_client, sessions, name)), names))

    assert sum(shares) == 1200
    assert sum(row.requests for row in rows.all(HourlyUsage)) == 1200
    assert lag(redis_client) == 0


def drain(redis_client: "redis.Redis", collector: Collector) -> int:
    total = 0
    while lag(redis_client):
        total += collector.collect_once(1)
    return total


# Dead letters

HUGE = 2**63
UNREADABLE: dict[str, dict[str, bytes]] = {
    "no JSON": {"event": b"{"},
    "no event": {"other": b"field"},
    "half an event": {"event": b'{"request_id":"r1"}'},
    "a project that is no UUID": redis_schema.encode_event(replace(EVENT, project_id="search")),
    "a key that is no UUID": redis_schema.encode_event(replace(EVENT, upstream_key_id="k1")),
    "a time without zone": redis_schema.encode_event(replace(EVENT, occurred_at=datetime(2026, 1, 1))),  # noqa: DTZ001
    "a status beyond its column": redis_schema.encode_event(replace(EVENT, status=2**31)),
    "a sequence beyond its column": redis_schema.encode_event(replace(EVENT, sequence=HUGE)),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_entry_is_kept_with_its_reason_and_holds_up_nobody(
    redis_client: redis.Redis, collector: Collector, rows: Rows, fault: str
) -> None:
    entry_id = redis_client.xadd(STREAM, UNREADABLE[fault])
    append(redis_client, replace(EVENT, request_id="its neighbour"))

    new = collector.collect_once(1)

    [(_, letter)] = redis_client.xrange(DEAD)
    assert (new, request_ids(rows)) == (1, ["its neighbour"])
    assert letter[b"entry"] == entry_id and letter[b"reason"]
    assert letter.items() >= {name.encode(): value for name, value in UNREADABLE[fault].items()}.items()
    assert (redis_client.xlen(STREAM), pending(redis_client)) == (0, 0)


def test_a_batch_of_nothing_but_unreadable_entries_is_finished(redis_client: redis.Redis, collector: Collector) -> None:
    redis_client.xadd(STREAM, {"event": b"{"})

    assert [collector.collect_once(1), lag(redis_client), redis_client.xlen(DEAD)] == [0, 0, 1]


def test_a_count_that_no_provider_can_mean_does_not_hold_up_the_request(
    redis_client: redis.Redis, collector: Collector, rows: Rows
) -> None:
    body = msgspec.json.encode(EVENT).replace(b'"prompt_tokens":10', b'"prompt_tokens":99999999999999999999999')
    redis_client.xadd(STREAM, {"event": body})

    assert collector.collect_once(1) == 1
    assert [row.prompt_tokens for row in rows.all(Request)] == [None]


# Redis in a wrong state


def test_other_faults_of_redis_are_passed_on(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    redis_client.set(STREAM, "not a stream")
    collector = Collector(redis_client, sessions)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        collector.collect_once(1)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        collector._make_group()


def test_a_group_that_another_collector_has_just_made_is_taken(collector: Collector) -> None:
    collector._make_group()

    assert collector.collect_once(1) == 0


# Costs, and events of earlier releases


def test_a_request_costs_what_held_when_it_arrived(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions, rows: Rows
) -> None:
    rows.add(Price(provider="openai", model="*", prompt=10**9, completion=0, updated_at=NOW))
    touch_prices(sessions)
    append(redis_client, EVENT)
    collector.collect_once(1)
    later = NOW + timedelta(hours=1)
    rows.add(Price(provider="openai", model="*", prompt=7 * 10**9, completion=0, valid_from=later, updated_at=NOW))
    touch_prices(sessions)

    append(redis_client, replace(EVENT, request_id="r2"), replace(EVENT, request_id="r3", occurred_at=later))
    collector.collect_once(1)

    assert [row.cost_nano_usd for row in rows.all(Request)] == [10_000, 10_000, 70_000]


def touch_prices(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        publications.touch(session, Name.PRICES, NOW)


def test_events_of_earlier_releases_are_recorded(redis_client: redis.Redis, collector: Collector, rows: Rows) -> None:
    known = msgspec.json.decode(msgspec.json.encode(EVENT))
    for name in ("model_asked", "finish_reason", "provider_request_id", "provider_ms", "attempts"):
        del known[name]
    known["usage"] = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    redis_client.xadd(STREAM, {"event": msgspec.json.encode(known)})

    assert collector.collect_once(1) == 1
    [row] = rows.all(Request)
    assert (row.total_tokens, row.cached_tokens, row.is_estimate, row.attempts) == (30, None, False, 1)


# What nobody has read


def test_the_whole_stream_is_recorded_also_what_another_collector_has_taken(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions, rows: Rows
) -> None:
    append(redis_client, EVENT)
    take(redis_client, idle_ms=0)
    append(redis_client, *numbered(BATCH + 1))

    assert record_unread(redis_client, sessions) == BATCH + 2
    assert len(request_ids(rows)) == BATCH + 2


def test_what_was_recorded_so_is_left_to_the_collectors_who_count_nothing_twice(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions, rows: Rows
) -> None:
    append(redis_client, EVENT)
    redis_client.xadd(STREAM, {"event": b"{"})

    counts = [record_unread(redis_client, sessions), record_unread(redis_client, sessions)]

    assert (counts, lag(redis_client), redis_client.xlen(DEAD)) == ([1, 0], 2, 0)
    assert (collector.collect_once(1), lag(redis_client), redis_client.xlen(DEAD)) == (0, 0, 1)
    assert [row.requests for row in rows.all(HourlyUsage)] == [1]


def test_an_empty_stream_has_nothing_to_record(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    assert record_unread(redis_client, sessions) == 0


# Of projects that are gone


def purge(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        projects.delete(session, NOW, projects.get(session, PROJECT_ID))
    with sessions.begin() as session:
        projects.purge(session, NOW, projects.get(session, PROJECT_ID))


def test_what_a_purged_project_used_is_dropped_and_all_else_recorded(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions, rows: Rows
) -> None:
    other = rows.project(name="other team")
    append(redis_client, EVENT, replace(EVENT, request_id="r2", project_id=str(other.id)))
    purge(sessions)

    new = [record_unread(redis_client, sessions), collector.collect_once(1)]

    assert new == [1, 0]
    assert request_ids(rows) == ["r2"]
    assert [row.project_id for row in (*rows.all(HourlyUsage), *rows.all(DailyUsage))] == [other.id] * 2
    assert (lag(redis_client), redis_client.xlen(DEAD)) == (0, 0)


def test_what_a_deleted_project_used_is_recorded(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions, rows: Rows
) -> None:
    append(redis_client, EVENT)
    with sessions.begin() as session:
        projects.delete(session, NOW, projects.get(session, PROJECT_ID))

    assert collector.collect_once(1) == 1
    assert request_ids(rows) == ["r1"]


def test_a_collector_of_another_database_drops_nothing(
    redis_client: redis.Redis, collector: Collector, sessions: db.Sessions
) -> None:
    Publisher(redis_client, sessions).republish_all()
    redis_client.set(redis_schema.DATABASE, "another")
    append(redis_client, replace(EVENT, project_id=str(new_id())))

    with pytest.raises(WrongRedis):
        collector.collect_once(1)

    assert lag(redis_client) == 1
