"""Rules of reading the feed: the newest first, the latest of each request, its bodies, and not without bounds."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import redis

from manager import flows
from manager.errors import NotFound
from manager.flows import Wanted
from manager.principals import Scope
from shared.flow_schema import FLOWS, STRANGERS, Message, Phase, held_key
from tests.manager.conftest import NOW, PROJECT_ID
from tests.manager.flow_records import ANSWERED, ASKED, RECORD, hold, record, tell

OTHER = UUID(int=7)


def ids(client: redis.Redis, limit: int = 100, bodies: bool = True, **wanted: Any) -> list[str]:
    return [each.request_id for each in flows.find(client, Wanted(**wanted), limit, bodies=bodies).records]


def test_those_come_first_that_were_told_of_last(redis_client: redis.Redis) -> None:
    tell(redis_client, record("r1"), record("r2"))
    tell(redis_client, record("r3"))

    assert ids(redis_client) == ["r3", "r2", "r1"]
    assert ids(redis_client, limit=2) == ["r3", "r2"]
    assert not flows.find(redis_client, Wanted(), 2).is_whole and flows.find(redis_client, Wanted(), 4).is_whole


def test_what_was_not_let_in_is_found_among_the_others(redis_client: redis.Redis) -> None:
    tell(redis_client, record("r1"))
    tell(redis_client, record("r2", project_id=""), stream=STRANGERS)
    tell(redis_client, record("r3"))

    assert set(ids(redis_client)) == {"r1", "r2", "r3"}
    tell(redis_client, *(record(f"s{number}", project_id="", route="") for number in range(50)), stream=STRANGERS)
    found = flows.find(redis_client, Wanted(), 16)
    assert {each.request_id for each in found.records if each.project_id} == {"r1", "r3"} and not found.is_whole
    assert len(ids(redis_client, request_ids=[f"s{number}" for number in range(50)])) == 50
    assert ids(redis_client, scope=Scope(frozenset([OTHER]))) == []


def test_a_feed_of_many_entries_is_read_to_its_end(redis_client: redis.Redis) -> None:
    for number in range(100):
        tell(redis_client, record(f"r{number}"))

    assert ids(redis_client) == [f"r{number}" for number in reversed(range(100))]


def test_nothing_is_found_where_there_is_no_feed(redis_client: redis.Redis) -> None:
    assert ids(redis_client) == []
    with pytest.raises(NotFound):
        flows.get(redis_client, "r1")


def test_the_highest_revision_counts_whatever_came_last(redis_client: redis.Redis) -> None:
    tell(redis_client, record(revision=3, status=200), record(revision=1, status=0))

    [found] = flows.find(redis_client, Wanted(), 10).records

    assert (found.revision, found.status) == (3, 200)


def test_bodies_that_have_not_changed_are_those_of_the_record_before(redis_client: redis.Redis) -> None:
    unchanged = msgspec.structs.replace(RECORD.request, body=None, is_unchanged=True)
    tell(redis_client, record(revision=1, phase=Phase.WAITING, response=None))
    tell(redis_client, record(revision=2, phase=Phase.STREAMING, request=unchanged))
    tell(redis_client, record("r2"))

    found = flows.get(redis_client, "r1")

    assert (found.revision, found.request.body, found.request.is_unchanged) == (2, ASKED, False)
    assert found.response is not None and found.response.body == ANSWERED
    limited = flows.find(redis_client, Wanted(), 2).records
    assert [each.request.body for each in limited] == [ASKED, ASKED]


def test_without_bodies_there_are_none(redis_client: redis.Redis) -> None:
    tell(redis_client, record(), record("r2", response=None))

    found = flows.find(redis_client, Wanted(), 10, bodies=False).records

    assert not any(map(flows.has_bodies, found)) and all(each.request.headers for each in found)
    assert flows.has_bodies(RECORD) and found[0].has_bodies


def test_what_is_wanted_is_found_and_nothing_else(redis_client: redis.Redis) -> None:
    tell(redis_client, record("r1"), record("r2", project_id=str(OTHER)))
    tell(redis_client, record("r3", started_at=(NOW + timedelta(hours=1)).timestamp()))

    assert ids(redis_client, scope=Scope(frozenset([PROJECT_ID]))) == ["r3", "r1"]
    assert ids(redis_client, scope=Scope(frozenset())) == []
    assert ids(redis_client, request_ids=("r1", "r9")) == ["r1"]
    assert ids(redis_client, since=NOW + timedelta(minutes=1)) == ["r3"]
    assert ids(redis_client, until=NOW + timedelta(minutes=1)) == ["r2", "r1"]
    assert ids(redis_client, since=NOW, until=NOW) == []
    assert ids(redis_client, fits=lambda each: each.request_id > "r2") == ["r3"]
    with pytest.raises(NotFound):
        flows.get(redis_client, "r1", Scope(frozenset([OTHER])))


def test_entries_that_are_older_than_what_is_wanted_are_not_read(redis_client: redis.Redis) -> None:
    long_ago = int((NOW - timedelta(hours=1)).timestamp() * 1000)
    redis_client.xadd(FLOWS, {"flows": b"unreadable"}, id=f"{long_ago}-1")
    tell(redis_client, record("r1"))

    found = flows.find(redis_client, Wanted(since=NOW), 10)

    assert [each.request_id for each in found.records] == ["r1"] and found.is_whole


@pytest.mark.parametrize("entry", [{"flows": b"\x00"}, {"other": b"x"}, {"flows": b"\x93"}], ids=str)
def test_an_entry_of_another_release_is_passed_over(redis_client: redis.Redis, entry: dict[str, bytes]) -> None:
    tell(redis_client, record("r1"))
    redis_client.xadd(FLOWS, entry)

    assert ids(redis_client) == ["r1"]


def test_what_is_read_and_what_is_kept_has_bounds(redis_client: redis.Redis) -> None:
    large = record("r1", request=Message([], 1000, b"x" * 1000))
    for number in range(5):
        tell(redis_client, msgspec.structs.replace(large, request_id=f"r{number}"))

    read = flows.find(redis_client, Wanted(), 10, most_bytes=4000)
    kept = flows.find(redis_client, Wanted(), 10, most_kept=2500)
    bare = flows.find(redis_client, Wanted(), 10, most_kept=2500, bodies=False)

    assert (len(read.records), read.is_whole) == (2, False)
    assert (len(kept.records), kept.is_whole) == (3, False)
    assert (len(bare.records), bare.is_whole) == (5, True)


def test_a_held_request_is_known_by_itself(redis_client: redis.Redis) -> None:
    hold(redis_client, record(phase=Phase.HELD))

    assert flows.held(redis_client, "r1") == record(phase=Phase.HELD)
    assert flows.held(redis_client, "r2") is None
    assert flows.held(redis_client, "r1", Scope(frozenset([OTHER]))) is None
    redis_client.set(held_key("r1"), b"\x93")
    assert flows.held(redis_client, "r1") is None
