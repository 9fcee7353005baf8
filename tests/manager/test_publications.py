"""Rules of what is published once for everybody: versions that only grow, and whatever is pending gets there."""

from typing import Any

import pytest
import redis
import sqlalchemy as sa

from manager import db, publications
from manager.publications import Name
from manager.publisher import Publisher, PublishError
from manager.stores import connect_redis
from manager.tables import Price, Publication
from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Window
from shared.prices import decode_table
from tests.manager.conftest import NOBODY, NOW, Rows
from tests.manager.test_publisher import admitted, once_read

WANTED = {"measure": "tokens", "window": "day", "amount": 10, "on_outage": "closed"}
LIMIT = Limit(Measure.TOKENS, Window.DAY, 10)


@pytest.fixture
def publisher(redis_client: redis.Redis, sessions: db.Sessions) -> Publisher:
    return Publisher(redis_client, sessions)


def set_limits(sessions: db.Sessions, *wanted: dict[str, Any]) -> None:
    with sessions.begin() as session:
        publications.set_global_limits(session, NOW, wanted)


def touch_prices(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        publications.touch(session, Name.PRICES, NOW)


def published(client: redis.Redis) -> tuple[Limit, ...]:
    return limits_schema.decode_limits(client.get(redis_schema.GLOBAL_LIMITS) or b"")


def versions(rows: Rows) -> list[tuple[str, int, int]]:
    return [(row.name, row.version, row.published_version) for row in rows.all(Publication)]


def test_at_first_nothing_has_a_version(sessions: db.Sessions) -> None:
    with db.reading(sessions) as session:
        assert [publications.version(session, name) for name in Name] == [0, 0, 0]
        assert publications.global_limits(session) == ()


def test_each_change_has_its_own_version(sessions: db.Sessions, rows: Rows) -> None:
    set_limits(sessions, WANTED)
    set_limits(sessions)
    touch_prices(sessions)

    assert versions(rows) == [("limits", 2, 0), ("prices", 1, 0)]


def test_what_is_pending_is_published_and_pending_no_longer(
    redis_client: redis.Redis, publisher: Publisher, sessions: db.Sessions, rows: Rows
) -> None:
    set_limits(sessions, WANTED)
    rows.add(Price(provider="openai", model="gpt-5", prompt=7, updated_at=NOW))
    touch_prices(sessions)

    assert [publisher.publish_pending(), publisher.publish_pending()] == [2, 0]
    assert published(redis_client) == (LIMIT,)
    assert [price.prompt for price in decode_table(redis_client.get(redis_schema.PRICES)).prices] == [7]
    assert versions(rows) == [("limits", 1, 1), ("prices", 1, 1)]


def test_a_lost_redis_gets_limits_and_prices_again(
    redis_client: redis.Redis, publisher: Publisher, sessions: db.Sessions, rows: Rows
) -> None:
    set_limits(sessions, WANTED)
    rows.add(Price(provider="openai", model="gpt-5", prompt=7, updated_at=NOW))
    publisher.republish_all()
    redis_client.flushall()

    assert publisher.republish_if_lost()

    assert published(redis_client) == (LIMIT,)
    assert len(decode_table(redis_client.get(redis_schema.PRICES)).prices) == 1


def test_where_there_are_no_limits_everybody_is_admitted(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project())

    publisher.republish_all()

    assert published(redis_client) == () and admitted(redis_client).standing == ()


def test_limits_of_everything_stand_for_every_token(
    redis_client: redis.Redis, publisher: Publisher, sessions: db.Sessions, rows: Rows
) -> None:
    rows.token(rows.project())
    set_limits(sessions, WANTED)

    publisher.republish_all()

    [state] = admitted(redis_client).standing
    assert (state.scope, state.measure, state.amount, state.remaining) == ("global", "tokens", 10, 10)


def test_a_slow_publisher_does_not_bring_back_limits_that_were_replaced(
    redis_client: redis.Redis, engine: sa.Engine, publisher: Publisher, sessions: db.Sessions, rows: Rows
) -> None:
    set_limits(sessions, WANTED)

    def overtake() -> None:
        set_limits(sessions, {**WANTED, "amount": 99})
        publisher.publish_limits()

    once_read(engine, "publications", overtake, "SELECT publications.value")
    publisher.publish_limits()

    assert [limit.amount for limit in published(redis_client)] == [99]
    assert versions(rows) == [("limits", 2, 2)]


def test_a_change_that_comes_while_an_older_one_is_published_stays_pending_or_is_in_it(
    redis_client: redis.Redis, engine: sa.Engine, publisher: Publisher, sessions: db.Sessions
) -> None:
    set_limits(sessions, WANTED)
    publisher.publish_limits()
    set_limits(sessions, WANTED)
    once_read(engine, "publications", lambda: set_limits(sessions), "SELECT publications.version")

    publisher.publish_limits()
    publisher.publish_pending()

    assert published(redis_client) == ()


def test_without_redis_publishing_fails_and_stays_pending(sessions: db.Sessions, rows: Rows) -> None:
    lonely = Publisher(connect_redis(NOBODY), sessions)
    set_limits(sessions, WANTED)

    with pytest.raises(PublishError):
        lonely.publish_limits()
    with pytest.raises(PublishError):
        lonely.publish_prices()

    assert versions(rows) == [("limits", 1, 0)]
