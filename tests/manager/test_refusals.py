"""Rules of refusals in the audit: each interval's counts are written down once, whatever breaks in between."""

from typing import Any

import pytest
import redis
import sqlalchemy as sa

from manager import db
from manager.refusals import Refusals
from manager.tables import AuditEvent
from shared import redis_schema
from tests.manager.conftest import NOW, PROJECT_ID, Rows


@pytest.fixture
def refusals(redis_client: redis.Redis, sessions: db.Sessions) -> Refusals:
    return Refusals(redis_client, sessions)


def refuse(client: redis.Redis, code: str, count: int, project_id: str = str(PROJECT_ID)) -> None:
    client.hincrby(redis_schema.REFUSALS, redis_schema.encode_refusal(project_id, code), count)


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
    redis_client.rename(redis_schema.REFUSALS, redis_schema.REFUSALS_TAKEN)
    redis_client.hset(redis_schema.REFUSALS_TAKEN, "batch", str(PROJECT_ID))
    aside = redis_client.dump(redis_schema.REFUSALS_TAKEN)
    refusals.write_down(NOW)
    redis_client.restore(redis_schema.REFUSALS_TAKEN, 0, aside)

    again = refusals.write_down(NOW)

    assert again == {"events": 0, "refusals": 0}
    assert told(rows) == [(PROJECT_ID, "token_expired", 5)]
