"""Rules of logins in the audit: the first from somewhere, and failed ones in sum, so that nobody fills the database."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from manager import db, logins, sums, tallies
from manager.audit import Source
from manager.logins import Logins
from manager.stores import connect_redis
from manager.tables import AuditEvent
from manager.tallies import OTHERS, SafeTallies
from tests.manager.conftest import NOBODY, NOW, Rows

ANN = Source("ann", "ticket-42", "192.0.2.7")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(sessions: db.Sessions, redis_client: redis.Redis) -> Logins:
    return Logins(sessions, SafeTallies(redis_client))


def shown(rows: Rows) -> list[tuple[Any, ...]]:
    return [(event.actor, event.outcome, event.address, event.detail) for event in rows.all(AuditEvent)]


def minute_over(client: redis.Redis, *names: str) -> None:
    """Let these have been told of a minute ago."""
    for name in names:
        assert client.delete(f"{tallies.PREFIX}told:{name}") == 1


def test_a_login_is_told_once_an_hour_for_each_address(told: Logins, rows: Rows, redis_client: redis.Redis) -> None:
    for source in (ANN, ANN, Source("ann", None, "192.0.2.8"), Source("bob", None, "192.0.2.7")):
        told.succeeded(NOW, source, "operator")

    assert shown(rows) == [
        ("ann", "success", "192.0.2.7", {"role": "operator"}),
        ("ann", "success", "192.0.2.8", {"role": "operator"}),
        ("bob", "success", "192.0.2.7", {"role": "operator"}),
    ]
    assert rows.all(AuditEvent)[0].request_id == "ticket-42"
    assert 3590 < redis_client.ttl(tallies.PREFIX + logins.seen("ann", "192.0.2.7")) <= 3600


def test_while_redis_is_away_each_process_tells_of_what_it_knows(sessions: db.Sessions, rows: Rows) -> None:
    clock = Clock()
    lonely = Logins(sessions, SafeTallies(connect_redis(NOBODY), clock))

    for _ in range(3):
        lonely.succeeded(NOW, ANN, "operator")
        lonely.failed(NOW, "192.0.2.7", None)
    lonely.flush_own(NOW)
    clock.now += 61
    lonely.flush_own(NOW)

    assert shown(rows) == [
        ("ann", "success", "192.0.2.7", {"role": "operator"}),
        ("anonymous", "failed", "192.0.2.7", {"count": 1}),
        ("anonymous", "failed", "192.0.2.7", {"count": 2}),
    ]


def test_what_one_process_knows_is_told_when_redis_is_back(
    sessions: db.Sessions, rows: Rows, redis_client: redis.Redis
) -> None:
    clock, tried = Clock(), SafeTallies(redis_client)
    one = Logins(sessions, SafeTallies(redis_client, clock))
    redis_client.set(f"{tallies.PREFIX}pile", "no hash")
    one.failed(NOW, "192.0.2.7", None)
    one.failed(NOW, "192.0.2.7", None)
    redis_client.delete(f"{tallies.PREFIX}pile")
    clock.now += 61

    one.flush_own(NOW)

    assert [detail for *_, detail in shown(rows)] == [{"count": 1}, {"count": 1}] and tried.piled() == []


def test_the_first_failure_is_told_at_once_and_the_rest_when_the_minute_is_over(
    told: Logins, rows: Rows, redis_client: redis.Redis
) -> None:
    for number in range(7):
        told.failed(NOW, "192.0.2.7", f"r{number}")
    assert shown(rows) == [("anonymous", "failed", "192.0.2.7", {"count": 1})]
    assert rows.all(AuditEvent)[0].request_id == "r0"
    told.flush(NOW)
    assert len(rows.all(AuditEvent)) == 1

    minute_over(redis_client, "192.0.2.7")
    told.flush(NOW + timedelta(minutes=1))

    assert shown(rows)[1:] == [("anonymous", "failed", "192.0.2.7", {"count": 6})]
    told.failed(NOW, "192.0.2.7", None)
    assert len(rows.all(AuditEvent)) == 2


def test_a_later_failure_tells_of_those_before_it(told: Logins, rows: Rows, redis_client: redis.Redis) -> None:
    for _ in range(3):
        told.failed(NOW, "192.0.2.7", None)
    minute_over(redis_client, "192.0.2.7")

    told.failed(NOW, "192.0.2.7", None)

    assert [detail["count"] for *_, detail in shown(rows)] == [1, 3]


def test_many_addresses_fill_no_database(told: Logins, rows: Rows, redis_client: redis.Redis) -> None:
    for number in range(sums.MOST_TOLD + 50):
        told.failed(NOW, f"10.0.{number // 250}.{number % 250}", None)
    assert len(rows.all(AuditEvent)) == sums.MOST_TOLD
    told.flush(NOW)
    assert len(rows.all(AuditEvent)) == sums.MOST_TOLD

    redis_client.delete(f"{tallies.PREFIX}told")
    told.flush(NOW)

    assert sum(detail["count"] for *_, detail in shown(rows)) == sums.MOST_TOLD + 50


def test_addresses_beyond_all_bounds_are_told_of_as_one(told: Logins, rows: Rows, redis_client: redis.Redis) -> None:
    redis_client.hset(f"{tallies.PREFIX}pile", OTHERS, 12)

    told.flush(NOW)

    assert shown(rows) == [("anonymous", "failed", None, {"count": 12})]


def test_what_the_database_does_not_take_is_told_later_and_fails_nobody(
    sessions: db.Sessions, rows: Rows, redis_client: redis.Redis, tmp_path: Path
) -> None:
    tallies_of = SafeTallies(redis_client)
    broken = db.create_engine(f"sqlite:///{tmp_path}/none/at.all")
    away = Logins(db.create_sessions(broken), tallies_of)
    away.succeeded(NOW, ANN, "operator")
    away.failed(NOW, "192.0.2.9", None)
    away.failed(NOW, "192.0.2.9", None)
    broken.dispose()
    minute_over(redis_client, "192.0.2.9")

    there = Logins(sessions, tallies_of)
    there.succeeded(NOW, ANN, "operator")
    there.flush(NOW)

    assert [(outcome, detail) for _, outcome, _, detail in shown(rows)] == [
        ("success", {"role": "operator"}),
        ("failed", {"count": 2}),
    ]
