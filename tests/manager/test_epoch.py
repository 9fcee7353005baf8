"""Rules of the epoch: Redis is ready when all was published to this run of it, and it belongs to one database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from manager import database_identity, db
from manager.epoch import Epoch
from manager.publisher import Publisher, PublishError
from manager.publishing import WrongRedis
from shared import redis_schema
from tests.manager.conftest import Rows
from tests.manager.test_publisher import admit, once_read


@pytest.fixture
def epoch(redis_client: redis.Redis, sessions: db.Sessions) -> Epoch:
    return Epoch(redis_client, sessions)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[db.Sessions]:
    """Another database."""
    url = f"sqlite:///{tmp_path}/other.db"
    db.migrate(url)
    engine = db.create_engine(url)
    yield db.create_sessions(engine)
    engine.dispose()


def test_a_database_has_one_id_for_ever(sessions: db.Sessions, others: db.Sessions) -> None:
    ids = [database_identity.of(sessions), database_identity.of(sessions), database_identity.of(others)]

    assert ids[0] == ids[1] != ids[2]


def test_who_comes_second_takes_the_id_of_who_came_first(engine: sa.Engine, sessions: db.Sessions) -> None:
    first: list[str] = []
    once_read(engine, "database_identity", lambda: first.append(database_identity.of(sessions)))

    assert [database_identity.of(sessions)] == first


def test_what_is_declared_is_current_and_lasts(redis_client: redis.Redis, epoch: Epoch) -> None:
    states = [epoch.is_current(), epoch.declare(epoch.begin()), epoch.is_current(), epoch.is_ready()]

    assert states == [False, None, True, True]
    assert redis_client.ttl(redis_schema.EPOCH) == redis_client.ttl(redis_schema.DATABASE) == -1
    assert redis_client.keys(f"{redis_schema.EPOCH}:*") == []


def test_an_attempt_that_was_lost_is_not_made_good_by_another_one(redis_client: redis.Redis, epoch: Epoch) -> None:
    lost = epoch.begin()
    redis_client.flushall()
    epoch.begin()

    with pytest.raises(PublishError, match="flushed"):
        epoch.declare(lost)

    assert not epoch.is_ready()


def test_two_attempts_side_by_side_both_succeed(epoch: Epoch) -> None:
    one, other = epoch.begin(), epoch.begin()

    epoch.declare(other)
    epoch.declare(one)

    assert epoch.is_current()


def test_what_a_dead_publisher_leaves_behind_is_forgotten(redis_client: redis.Redis, epoch: Epoch) -> None:
    attempt = epoch.begin()

    assert 0 < redis_client.ttl(attempt) <= 86_400


def test_a_publisher_that_lost_everything_does_not_declare_what_another_one_has_only_begun(
    redis_client: redis.Redis, sessions: db.Sessions, engine: sa.Engine, rows: Rows
) -> None:
    rows.token(rows.project())

    def lose() -> None:
        redis_client.flushall()
        Epoch(redis_client, sessions).begin()

    once_read(engine, "tokens", lose)
    with pytest.raises(PublishError):
        Publisher(redis_client, sessions).republish_all()

    assert admit(redis_client).reason == "service_unavailable"


def test_the_redis_of_another_database_is_left_alone(
    redis_client: redis.Redis, sessions: db.Sessions, others: db.Sessions, rows: Rows
) -> None:
    token = rows.token(rows.project())
    Publisher(redis_client, sessions).republish_all()
    before = {key: redis_client.dump(key) for key in redis_client.keys("*")}
    theirs = Publisher(redis_client, others)

    calls = (theirs.republish_all, theirs.republish_if_lost, theirs.publish_limits, theirs.publish_prices)
    for call in (*calls, theirs.publish_pending, lambda: theirs.publish_token(token.id)):
        with pytest.raises(WrongRedis, match="another database"):
            call()

    assert {key: redis_client.dump(key) for key in redis_client.keys("*")} == before


def test_the_redis_of_another_database_can_be_adopted(
    redis_client: redis.Redis, sessions: db.Sessions, others: db.Sessions
) -> None:
    Publisher(redis_client, sessions).republish_all()

    Publisher(redis_client, others).republish_all(is_adopting=True)

    assert Epoch(redis_client, others).is_current()
    with pytest.raises(WrongRedis):
        Epoch(redis_client, sessions).is_current()


def test_a_redis_of_an_earlier_release_is_bound_by_publishing_everything(
    redis_client: redis.Redis, epoch: Epoch, sessions: db.Sessions
) -> None:
    epoch.declare(epoch.begin())
    redis_client.delete(redis_schema.DATABASE)

    assert Publisher(redis_client, sessions).republish_if_lost() and epoch.is_current()


def test_a_binding_that_cannot_be_read_is_none_of_ours(redis_client: redis.Redis, epoch: Epoch) -> None:
    redis_client.rpush(redis_schema.DATABASE, "x")

    with pytest.raises(WrongRedis):
        epoch.begin()

    epoch.declare(epoch.begin(is_adopting=True))
    assert epoch.is_current()
