"""Rules of dead letters: shown with their reasons, tried again or thrown away, and nothing else is touched."""

import pytest
import redis

from manager import db
from manager.collector import Collector
from manager.tables import Request
from shared import redis_schema
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import EVENT, PROJECT_ID, Rows, one_database

pytestmark = one_database
DEAD, STREAM = redis_schema.USAGE_DEAD_LETTERS, redis_schema.USAGE_STREAM


def lay(client: redis.Redis, event: bytes = b"{", reason: str = "unreadable") -> str:
    """A dead letter, as the collector leaves it."""
    entry: bytes = client.xadd(DEAD, {"event": event, "reason": reason, "entry": "1-1"})
    return entry.decode()


def test_at_first_there_are_none(api: Api) -> None:
    assert api.get("dead-letters").json == {"items": [], "next_cursor": None}


def test_they_are_shown_newest_first_with_their_reasons(api: Api, redis_client: redis.Redis) -> None:
    first, second = lay(redis_client), lay(redis_client, b"\xff", "not UTF-8")

    shown = api.get("dead-letters").json["items"]

    assert [(letter["id"], letter["reason"], letter["event"]) for letter in shown] == [
        (second, "not UTF-8", "\ufffd"),
        (first, "unreadable", "{"),
    ]
    assert shown[0]["occurred_at"] >= shown[1]["occurred_at"] >= "2026"


def test_they_come_in_pages(api: Api, redis_client: redis.Redis) -> None:
    ids = [lay(redis_client) for _ in range(3)]

    first = api.get("dead-letters", limit=2).json
    rest = api.get("dead-letters", limit=2, cursor=first["next_cursor"]).json

    assert [letter["id"] for letter in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None


def test_a_long_event_is_cut(api: Api, redis_client: redis.Redis) -> None:
    lay(redis_client, b"x" * 20_000)

    assert len(api.get("dead-letters").json["items"][0]["event"]) == 10_000


def test_one_that_is_tried_again_is_recorded_if_it_can_be(
    api: Api, redis_client: redis.Redis, sessions: db.Sessions, rows: Rows
) -> None:
    rows.project(id=PROJECT_ID)
    [(_, event)] = redis_schema.encode_event(EVENT).items()
    letter, other = lay(redis_client, event), lay(redis_client)

    answer = api.post(f"dead-letters/{letter}/retry")
    collector = Collector(redis_client, sessions)
    counts = [collector.collect_once(1), collector.collect_once(1)]

    assert (answer.status_code, counts) == (204, [0, 1])
    assert [row.request_id for row in rows.all(Request)] == ["r1"]
    assert [letter["id"] for letter in api.get("dead-letters").json["items"]] == [other]


def test_one_that_is_thrown_away_is_gone(api: Api, redis_client: redis.Redis) -> None:
    letter = lay(redis_client)

    assert api.delete(f"dead-letters/{letter}").status_code == 204
    assert (redis_client.xlen(DEAD), redis_client.exists(STREAM)) == (0, 0)


@pytest.mark.parametrize("letter", ["1-1", "x", "-", "+", "1", "1-1-1", "9" * 30 + "-1"])
def test_what_is_not_there_is_not_found(api: Api, redis_client: redis.Redis, letter: str) -> None:
    lay(redis_client)

    answers = [api.delete(f"dead-letters/{letter}"), api.post(f"dead-letters/{letter}/retry")]

    assert [problem(answer) for answer in answers] == [(404, "not_found")] * 2
    assert redis_client.xlen(DEAD) == 1


def test_a_cursor_from_elsewhere_is_refused(api: Api) -> None:
    assert faulty(api.get("dead-letters", cursor="x")) == ["cursor"]


def test_without_redis_nobody_knows(lonely: Api) -> None:
    assert problem(lonely.get("dead-letters")) == (503, "service_unavailable")
