"""Rules of health: what workers have set aside is told, what is unreadable is not known, and nothing ever fails."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
import redis

from manager.stores import connect_redis
from manager.upstream_health import OK, Health, UpstreamHealth
from shared import redis_schema
from shared.redis_schema import BREAKERS, BreakerChange, Revoked
from tests.manager.conftest import NOBODY

KEY_ID = UUID("018f0000-0000-7000-8000-00000000000c")
SUBJECT = f"key:{KEY_ID}"
UNTIL = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
OPEN = BreakerChange(SUBJECT, True, "status_429", redis_schema.to_ms(UNTIL), 3)


@pytest.fixture
def health(redis_client: redis.Redis) -> UpstreamHealth:
    return UpstreamHealth(redis_client)


@pytest.fixture
def lonely() -> Iterator[UpstreamHealth]:
    """Cannot reach Redis."""
    client = connect_redis(NOBODY)
    yield UpstreamHealth(client)
    client.close()


def test_what_is_set_aside_is_told_with_its_reason_and_end(health: UpstreamHealth, redis_client: redis.Redis) -> None:
    redis_client.hset(BREAKERS, SUBJECT, redis_schema.encode_control(OPEN))

    found = health.of([SUBJECT, "origin:https://api.openai.com", SUBJECT])

    assert found == {SUBJECT: Health("set_aside", "status_429", UNTIL, 3), "origin:https://api.openai.com": OK}


def test_of_nothing_nothing_is_asked(health: UpstreamHealth) -> None:
    assert health.of([]) == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"junk",
        redis_schema.encode_control(Revoked("token", "t1")).encode(),
        redis_schema.encode_control(BreakerChange(SUBJECT, True, "429", 2**63, 1)).encode(),
    ],
    ids=["empty", "junk", "another message", "beyond all time"],
)
def test_of_what_is_unreadable_nothing_is_known(
    health: UpstreamHealth, redis_client: redis.Redis, payload: bytes
) -> None:
    redis_client.hset(BREAKERS, SUBJECT, payload)

    assert health.of([SUBJECT]) == {SUBJECT: None}


def test_a_breaker_that_is_noted_as_closed_is_well(health: UpstreamHealth, redis_client: redis.Redis) -> None:
    redis_client.hset(BREAKERS, SUBJECT, redis_schema.encode_control(BreakerChange(SUBJECT, is_open=False)))

    assert health.of([SUBJECT]) == {SUBJECT: OK}


def test_a_hash_that_is_none_makes_nothing_known(health: UpstreamHealth, redis_client: redis.Redis) -> None:
    redis_client.set(BREAKERS, "not a hash")

    assert health.of([SUBJECT]) == {SUBJECT: None}
    health.forgive(KEY_ID)


def test_without_redis_nothing_is_known_and_nothing_fails(lonely: UpstreamHealth) -> None:
    lonely.forgive(KEY_ID)

    assert lonely.of([SUBJECT]) == {SUBJECT: None}


def test_only_what_is_forgiven_is_closed(health: UpstreamHealth, redis_client: redis.Redis) -> None:
    for subject in (SUBJECT, "key:other"):
        redis_client.hset(BREAKERS, subject, redis_schema.encode_control(OPEN))

    health.forgive()
    health.forgive(KEY_ID)

    assert redis_client.hkeys(BREAKERS) == [b"key:other"]
