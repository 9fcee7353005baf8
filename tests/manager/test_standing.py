"""Rules of standings: what the data plane has counted is told as it is, and what is not known is not told."""

from datetime import UTC, datetime

import pytest
import redis

from manager import standing
from manager.standing import Holder, Standing
from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Scope, Window
from tests.manager.conftest import NOBODY
from tests.shared.limit_scripts import counter

NOW = datetime(2026, 5, 4, 10, 20, tzinfo=UTC)
MONTH = limits_schema.period_of(Window.MONTH, NOW)
COST = Limit(Measure.COST, Window.MONTH, 1000)
LIFE = Limit(Measure.REQUESTS, Window.LIFE, 100)
RUNNING = Limit(Measure.CONCURRENT, Window.LIFE, 4)
PACE = Limit(Measure.REQUESTS, Window.MINUTE, 60)


def write(client: redis.Redis, holder: Holder, limit: Limit, value: bytes) -> None:
    project_id = holder.id if holder.scope is Scope.PROJECT else ""
    field = limits_schema.field_of(limit.measure, limit.window, project_id)
    client.hset(redis_schema.used_key(holder.scope, holder.id), field, value)


def test_each_holder_has_its_own(redis_client: redis.Redis) -> None:
    project = Holder(Scope.PROJECT, "p1", [COST, RUNNING])
    token = Holder(Scope.TOKEN, "t1", [LIFE])
    everything = Holder(Scope.GLOBAL, "", [COST])
    write(redis_client, project, COST, counter(250, MONTH))
    write(redis_client, project, RUNNING, counter(3, 0))
    write(redis_client, token, LIFE, counter(150, 0))
    write(redis_client, everything, COST, counter(7, MONTH))

    found = standing.of_each(redis_client, [project, Holder(Scope.PROJECT, "p2", []), token, everything], NOW)

    assert found == [[Standing(COST, 250), Standing(RUNNING, 3)], [], [Standing(LIFE, 150)], [Standing(COST, 7)]]
    assert [each.share for one in found for each in one] == [0.25, 0.75, 1.5, 0.007]


def test_a_period_that_is_over_counts_as_nothing(redis_client: redis.Redis) -> None:
    project = Holder(Scope.PROJECT, "p1", [COST, LIFE])
    write(redis_client, project, COST, counter(250, MONTH - 1))

    assert standing.of_each(redis_client, [project], NOW) == [[Standing(COST, 0), Standing(LIFE, 0)]]


def test_a_rate_has_no_number_of_what_was_used(redis_client: redis.Redis) -> None:
    [[found]] = standing.of_each(redis_client, [Holder(Scope.PROJECT, "p1", [PACE])], NOW)

    assert (found.used, found.share) == (None, None)


@pytest.mark.parametrize("value", [b"nonsense", b"\xc0", b""], ids=["text", "nil", "empty"])
def test_what_is_damaged_is_not_known(redis_client: redis.Redis, value: bytes) -> None:
    project = Holder(Scope.PROJECT, "p1", [COST])
    write(redis_client, project, COST, value)

    assert standing.of_each(redis_client, [project], NOW) == [[Standing(COST, None)]]


def test_a_key_of_another_kind_hides_nobody_else(redis_client: redis.Redis) -> None:
    redis_client.set(redis_schema.used_key(Scope.TOKEN, "t1"), "text")
    holders = [Holder(Scope.TOKEN, "t1", [LIFE]), Holder(Scope.TOKEN, "t2", [LIFE])]

    assert standing.of_each(redis_client, holders, NOW) == [[Standing(LIFE, None)], [Standing(LIFE, 0)]]


def test_without_redis_nothing_is_known() -> None:
    client = redis.Redis.from_url(NOBODY)

    assert standing.of_each(client, [Holder(Scope.TOKEN, "t1", [LIFE])], NOW) == [[Standing(LIFE, None)]]
    client.close()
