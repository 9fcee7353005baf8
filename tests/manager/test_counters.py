"""Rules of counters: what SQL knows of a limit's use is there before anybody is admitted, and nothing is taken back."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import redis
import time_machine

from manager import db, publications
from manager.counters import Counters
from manager.publisher import Publisher
from manager.tables import HourlyUsage, Project, Token
from shared import redis_schema
from shared.models import Limit, Measure, Scope, Window
from tests.manager.conftest import EVENT, Rows
from tests.shared.limit_scripts import counter, shown

NOW = datetime(2026, 5, 4, 10, 20, tzinfo=UTC)
DAY, MONTH = str((NOW - datetime(1970, 1, 1, tzinfo=UTC)).days), str(2026 * 12 + 4)
REQUESTS = Limit(Measure.REQUESTS, Window.LIFE, 100)
TOKENS = tuple(Limit(Measure.TOKENS, window, 100) for window in (Window.LIFE, Window.DAY, Window.MONTH))
COSTS = tuple(Limit(Measure.COST, window, 100) for window in (Window.LIFE, Window.DAY, Window.MONTH))
ALL = (REQUESTS, *TOKENS, *COSTS)
# Tokens in each of these hours; costs are ten times, requests a tenth of them.
HOURS = {"2026-03-01T00": 1000, "2026-04-30T23": 100, "2026-05-01T00": 40, "2026-05-03T23": 30, "2026-05-04T00": 20}
LIFE = {"requests:life": ":119", "tokens:life": ":1190", "cost:life": ":11900"}
PERIODS = {"tokens:day": f"{DAY}:20", "tokens:month": f"{MONTH}:90"}
PERIODS |= {"cost:day": f"{DAY}:200", "cost:month": f"{MONTH}:900"}


@pytest.fixture
def counters(redis_client: redis.Redis, sessions: db.Sessions) -> Counters:
    return Counters(redis_client, sessions)


@pytest.fixture
def publisher(redis_client: redis.Redis, sessions: db.Sessions) -> Publisher:
    return Publisher(redis_client, sessions)


def used(client: redis.Redis, scope: Scope, scope_id: object = "") -> dict[str, str]:
    """What Redis counts."""
    found = client.hgetall(redis_schema.used_key(scope, str(scope_id)))
    prefix = f"{scope_id}:" if scope is Scope.PROJECT else ""
    names = {name.decode() for name in found if name.decode().count(":") == prefix.count(":") + 1}
    return {name.removeprefix(prefix): shown(found[name.encode()]) for name in names if name.startswith(prefix)}


def use(rows: Rows, project_id: UUID, token_id: UUID, hours: dict[str, int] = HOURS) -> None:
    """Hours in which something was used."""
    for hour, tokens in hours.items():
        sums: dict[str, Any] = dict.fromkeys(("prompt_tokens", "completion_tokens", "request_bytes"), 0)
        sums |= {"response_bytes": 0, "duration_ms": 0.0, "requests": tokens // 10, "total_tokens": tokens}
        moment = datetime.fromisoformat(hour).replace(tzinfo=UTC)
        kind = {"route": "chat", "model": "gpt-5", "status_class": 2, "cost_nano_usd": tokens * 10}
        rows.add(HourlyUsage(hour=moment, project_id=project_id, token_id=token_id, **kind, **sums))


def limited(rows: Rows, *limits: Limit, name: str = "search team") -> tuple[Project, Token]:
    """A project with limits, and a token of it with the same ones, both used."""
    project = rows.project(name=name, limits=limits)
    token = rows.token(project, digest=name, limits=[limit for limit in limits if limit != REQUESTS])
    use(rows, project.id, token.id)
    return project, token


def test_a_projects_counters_are_what_it_used_in_each_period(
    redis_client: redis.Redis, counters: Counters, rows: Rows
) -> None:
    project, _ = limited(rows, *ALL)
    limited(rows, name="another team")

    counters.of_rows([project], NOW)

    assert used(redis_client, Scope.PROJECT, project.id) == LIFE | PERIODS
    assert redis_client.ttl(redis_schema.used_key(Scope.PROJECT, str(project.id))) == -1


def test_a_tokens_counters_are_forgotten_with_it(redis_client: redis.Redis, counters: Counters, rows: Rows) -> None:
    _, token = limited(rows, *TOKENS)

    counters.of_rows([token], NOW)

    assert used(redis_client, Scope.TOKEN, token.id) == {"tokens:life": ":1190"} | {
        name: value for name, value in PERIODS.items() if name.startswith("tokens")
    }
    forgotten = redis_client.pexpiretime(redis_schema.used_key(Scope.TOKEN, str(token.id)))
    assert forgotten == redis_schema.to_ms(token.expires_at + redis_schema.REMEMBER_EXPIRED)


def test_the_counters_of_everything_are_those_of_all_projects(
    redis_client: redis.Redis, counters: Counters, rows: Rows
) -> None:
    limited(rows)
    limited(rows, name="another team")

    counters.of_all([REQUESTS, COSTS[1]], NOW)

    assert used(redis_client, Scope.GLOBAL) == {"requests:life": ":238", "cost:day": f"{DAY}:400"}


def test_of_many_each_has_the_counters_of_its_own_limits(
    redis_client: redis.Redis, counters: Counters, rows: Rows
) -> None:
    one, _ = limited(rows, TOKENS[0])
    two, _ = limited(rows, COSTS[1], name="another team")
    three, _ = limited(rows, name="unlimited")

    counters.of_rows([one, two, three], NOW)

    found = [used(redis_client, Scope.PROJECT, project.id) for project in (one, two, three)]
    assert found == [{"tokens:life": ":1190"}, {"cost:day": f"{DAY}:200"}, {}]


@pytest.mark.parametrize(
    "limit",
    [
        Limit(Measure.REQUESTS, Window.MINUTE, 5),
        Limit(Measure.TOKENS, Window.MINUTE, 5),
        Limit(Measure.CONCURRENT, Window.LIFE, 5),
    ],
    ids=["rate", "minute", "concurrent"],
)
def test_rates_minutes_and_running_requests_start_anew(
    redis_client: redis.Redis, counters: Counters, rows: Rows, limit: Limit
) -> None:
    project, _ = limited(rows, limit)

    counters.of_rows([project], NOW)
    counters.of_all([limit], NOW)

    assert redis_client.keys("*") == []


@pytest.mark.parametrize(("before", "after"), [(7, ":1190"), (5000, ":5000")], ids=["less", "more"])
def test_what_redis_has_counted_since_is_never_taken_back(
    redis_client: redis.Redis, counters: Counters, rows: Rows, before: int, after: str
) -> None:
    project, _ = limited(rows, TOKENS[0])
    redis_client.hset(redis_schema.used_key(Scope.PROJECT), f"{project.id}:tokens:life", counter(before))

    counters.of_rows([project], NOW)

    assert used(redis_client, Scope.PROJECT, project.id) == {"tokens:life": after}


def test_what_was_not_used_yet_has_no_counters(redis_client: redis.Redis, counters: Counters, rows: Rows) -> None:
    project = rows.project(limits=ALL)

    counters.of_rows([project], NOW)
    counters.of_rows([], NOW)

    assert used(redis_client, Scope.PROJECT, project.id) == {}


# With what is published


def test_a_new_limit_counts_what_was_used_before_it(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    project, token = limited(rows, TOKENS[0])

    publisher.publish_project(project.id)
    publisher.publish_token(token.id)

    assert used(redis_client, Scope.PROJECT, project.id) == {"tokens:life": ":1190"}
    assert used(redis_client, Scope.TOKEN, token.id) == {"tokens:life": ":1190"}


def test_a_new_limit_of_everything_counts_what_was_used_before_it(
    redis_client: redis.Redis, publisher: Publisher, sessions: db.Sessions, rows: Rows
) -> None:
    limited(rows)
    with sessions.begin() as session:
        wanted = {"measure": "tokens", "window": "life", "amount": 5, "on_outage": "closed"}
        publications.set_global_limits(session, NOW, [wanted])

    publisher.publish_limits()

    assert used(redis_client, Scope.GLOBAL) == {"tokens:life": ":1190"}


def test_after_a_loss_counters_are_there_before_redis_counts_as_ready_with_what_nobody_had_read(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    with time_machine.travel(NOW, tick=False):
        project, token = limited(rows, *TOKENS)
        rows.change(token, expires_at=datetime(2100, 1, 1, tzinfo=UTC))
        event = {"project_id": str(project.id), "token_id": str(token.id), "occurred_at": NOW}
        redis_client.xadd(redis_schema.USAGE_STREAM, redis_schema.encode_event(replace(EVENT, **event)))

        publisher.republish_all()

    expected = {"tokens:life": ":1220", "tokens:day": f"{DAY}:50", "tokens:month": f"{MONTH}:120"}
    assert used(redis_client, Scope.PROJECT, project.id) == used(redis_client, Scope.TOKEN, token.id) == expected
    assert redis_client.xlen(redis_schema.USAGE_STREAM) == 1 and publisher.is_ready()
