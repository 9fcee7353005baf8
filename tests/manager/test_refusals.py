"""Rules of refusals in the audit: each interval's counts are written down once, whatever breaks in between."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from manager import db
from manager.refusals import Refusals
from manager.tables import AuditEvent
from shared import redis_schema
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID, Rows


@pytest.fixture
def refusals(redis_client: redis.Redis, sessions: db.Sessions) -> Refusals:
    return Refusals(redis_client, sessions)


def refuse(client: redis.Redis, code: str, count: int, project_id: str = str(PROJECT_ID)) -> None:
    client.hincrby(redis_schema.REFUSALS, redis_schema.encode_refusal(project_id, code), count)


def take_aside(client: redis.Redis, batch: UUID) -> None:
    client.rename(redis_schema.REFUSALS, redis_schema.REFUSALS_TAKEN)
    client.hset(redis_schema.REFUSALS_TAKEN, "batch", str(batch))


def told(rows: Rows) -> list[tuple[Any, ...]]:
    events = rows.all(AuditEvent)
    return sorted((event.project_id, event.detail["code"], event.detail["count"]) for event in events)


def test_counts_become_events_of_the_data_plane(redis_client: redis.Redis, refusals: Refusals, rows: Rows) -> None:
    refuse(redis_client, "rate_limit_exceeded", 7)
    refuse(redis_client, "token_expired", 2)

    report = refusals.write_down(NOW)

    assert report == {"events": 2, "refusals": 9}
    assert told(rows) == [(PROJECT_ID, "rate_limit_exceeded", 7), (PROJECT_ID, "token_expired", 2)]
    assert {(event.action, event.actor, event.outcome) for event in rows.all(AuditEvent)} == {
        ("requests.refused", "data-plane", "refused")
    }


def test_refusals_of_nobody_s_project_have_none(redis_client: redis.Redis, refusals: Refusals, rows: Rows) -> None:
    refuse(redis_client, "token_not_found", 3, "")

    refusals.write_down(NOW)

    assert told(rows) == [(None, "token_not_found", 3)]


def test_where_nothing_was_refused_nothing_is_written(refusals: Refusals, rows: Rows) -> None:
    assert refusals.write_down(NOW) == {"events": 0, "refusals": 0}
    assert told(rows) == []


def test_each_interval_is_written_down_by_itself(redis_client: redis.Redis, refusals: Refusals, rows: Rows) -> None:
    for count in (1, 2):
        refuse(redis_client, "token_expired", count)
        refusals.write_down(NOW)

    assert told(rows) == [(PROJECT_ID, "token_expired", 1), (PROJECT_ID, "token_expired", 2)]
    assert redis_client.keys(f"{redis_schema.REFUSALS}*") == []


def test_what_could_not_be_written_down_is_so_the_next_time_and_nothing_is_mixed(
    redis_client: redis.Redis, engine: sa.Engine, refusals: Refusals, rows: Rows
) -> None:
    broken = [True]

    def fail(_: Any, __: Any, statement: str, *___: Any) -> None:
        if broken and statement.startswith("INSERT"):
            raise sa.exc.OperationalError(statement, None, Exception("no disk"))

    sa.event.listen(engine, "before_cursor_execute", fail)
    refuse(redis_client, "token_expired", 1)
    with pytest.raises(sa.exc.OperationalError):
        refusals.write_down(NOW)
    refuse(redis_client, "token_expired", 2)
    broken.clear()

    reports = [refusals.write_down(NOW) for _ in range(3)]

    assert [report["refusals"] for report in reports] == [1, 2, 0]


def test_what_was_written_down_just_before_a_crash_is_not_written_again(
    redis_client: redis.Redis, refusals: Refusals, rows: Rows
) -> None:
    refuse(redis_client, "token_expired", 5)
    take_aside(redis_client, PROJECT_ID)
    aside = redis_client.dump(redis_schema.REFUSALS_TAKEN)
    refusals.write_down(NOW)
    redis_client.restore(redis_schema.REFUSALS_TAKEN, 0, aside)

    again = refusals.write_down(NOW)

    assert again == {"events": 0, "refusals": 0}
    assert told(rows) == [(PROJECT_ID, "token_expired", 5)]


# Several at once


class Late:
    """A client of Redis whose scripts that throw away run only when they are let go."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.held: list[Callable[[], Any]] = []

    def register_script(self, source: str) -> Callable[..., Any]:
        script = self._client.register_script(source)
        if "DEL" not in source:
            return script

        def later(**arguments: Any) -> None:
            self.held.append(lambda: script(**arguments))

        return later


def test_who_throws_a_batch_away_late_leaves_the_next_one_alone(
    redis_client: redis.Redis, sessions: db.Sessions, refusals: Refusals, rows: Rows
) -> None:
    late = Late(redis_client)
    refuse(redis_client, "token_expired", 5)
    Refusals(cast(redis.Redis, late), sessions).write_down(NOW)
    refusals.write_down(NOW)  # Finds the batch written down, and throws it away.
    refuse(redis_client, "token_expired", 7)
    take_aside(redis_client, TOKEN_ID)  # By one that dies before it has written.

    late.held.pop()()
    refusals.write_down(NOW)

    assert told(rows) == [(PROJECT_ID, "token_expired", 5), (PROJECT_ID, "token_expired", 7)]


def test_of_several_that_write_at_once_one_does(
    redis_client: redis.Redis, engine: sa.Engine, sessions: db.Sessions, rows: Rows
) -> None:
    several = 3
    together = threading.Barrier(several)

    def meet(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT INTO audit_events"):
            with suppress(threading.BrokenBarrierError):
                together.wait(0.5)

    sa.event.listen(engine, "before_cursor_execute", meet)
    for _ in range(3):
        refuse(redis_client, "token_expired", 5)
        with ThreadPoolExecutor(several) as pool:
            reports = list(pool.map(lambda _: Refusals(redis_client, sessions).write_down(NOW), range(several)))
        assert sum(report["refusals"] for report in reports) == 5

    assert told(rows) == [(PROJECT_ID, "token_expired", 5)] * 3


def test_a_batch_that_somebody_still_holds_is_not_written_after_the_next_one(
    redis_client: redis.Redis, refusals: Refusals, rows: Rows
) -> None:
    for batch in (PROJECT_ID, TOKEN_ID, PROJECT_ID):
        refuse(redis_client, "token_expired", 5)
        take_aside(redis_client, batch)
        refusals.write_down(NOW)

    assert {event.subject_id for event in rows.all(AuditEvent)} == {PROJECT_ID, TOKEN_ID}
    assert len(told(rows)) == 2
