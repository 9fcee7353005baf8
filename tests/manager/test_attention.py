"""Rules of what soon needs somebody: what has least room comes first, and nothing that is over is told."""

from datetime import timedelta

import pytest
import redis

from manager import attention, db, publications
from manager.principals import Scope
from manager.tables import Project
from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Window
from shared.models import Scope as Whose
from tests.manager.conftest import NOBODY, NOW, Rows
from tests.shared.limit_scripts import counter

MONTH = limits_schema.period_of(Window.MONTH, NOW)
COST = Limit(Measure.COST, Window.MONTH, 1000)
LIFE = Limit(Measure.REQUESTS, Window.LIFE, 100)
PACE = Limit(Measure.REQUESTS, Window.MINUTE, 60)


def use(client: redis.Redis, limit: Limit, amount: int, project: Project | None = None) -> None:
    """Count what the data plane would have counted."""
    key = redis_schema.used_key(Whose.PROJECT if project else Whose.GLOBAL, str(project.id) if project else "")
    field = limits_schema.field_of(limit.measure, limit.window, str(project.id) if project else "")
    client.hset(key, field, counter(amount, limits_schema.period_of(limit.window, NOW)))


def owners(sessions: db.Sessions, scope: Scope = attention.EVERYTHING) -> list[attention.Owner]:
    with db.reading(sessions) as session:
        return attention.owners(session, scope)


def test_those_with_the_least_room_come_first(rows: Rows, sessions: db.Sessions, redis_client: redis.Redis) -> None:
    search = rows.project(name="search", limits=(COST, LIFE, PACE))
    chat = rows.project(name="chat", limits=(COST,))
    rows.project(name="mail")
    use(redis_client, COST, 950, search)
    use(redis_client, LIFE, 79, search)
    use(redis_client, COST, 1200, chat)

    found = attention.nearly_reached(redis_client, owners(sessions), NOW)

    assert [(each.owner.name, each.standing.limit, each.share) for each in found] == [
        ("chat", COST, 1.2),
        ("search", COST, 0.95),
    ]
    assert [each.owner.name for each in attention.nearly_reached(redis_client, owners(sessions), NOW, most=1)] == [
        "chat"
    ]


def test_everything_together_has_limits_too(sessions: db.Sessions, redis_client: redis.Redis) -> None:
    with sessions.begin() as session:
        wanted = {"measure": "tokens", "window": "day", "amount": 10, "on_outage": "closed"}
        [limit] = publications.set_global_limits(session, NOW, [wanted])
    use(redis_client, limit, 8)

    [found] = attention.nearly_reached(redis_client, owners(sessions), NOW)

    assert (found.owner.id, found.owner.name, found.share) == (None, "Everything", 0.8)


def test_who_sees_some_projects_sees_the_limits_of_these(rows: Rows, sessions: db.Sessions) -> None:
    search = rows.project(name="search", limits=(COST,))
    rows.project(name="chat", limits=(COST,))
    rows.project(name="over", limits=(COST,), is_active=False)
    with sessions.begin() as session:
        wanted = {"measure": "tokens", "window": "day", "amount": 10, "on_outage": "closed"}
        publications.set_global_limits(session, NOW, [wanted])

    assert [owner.name for owner in owners(sessions, Scope(frozenset([search.id])))] == ["search"]
    assert [owner.name for owner in owners(sessions)] == ["Everything", "chat", "search"]


def test_without_redis_nothing_is_nearly_reached(rows: Rows, sessions: db.Sessions) -> None:
    rows.project(name="search", limits=(COST,))
    client = redis.Redis.from_url(NOBODY)

    assert attention.nearly_reached(client, owners(sessions), NOW) == []
    client.close()


@pytest.mark.parametrize(
    ("used", "is_told"), [(79, False), (80, True), (99, True), (100, False)], ids=["room", "nearly", "last", "used up"]
)
def test_tokens_that_are_nearly_used_up(rows: Rows, sessions: db.Sessions, used: int, is_told: bool) -> None:
    project = rows.project()
    token = rows.token(project, max_requests=100, request_count=used, expires_at=NOW + timedelta(days=1))

    with db.reading(sessions) as session:
        found = attention.nearly_used_up(session, NOW)

    assert [each.id for each in found] == ([token.id] if is_told else [])


def test_of_tokens_that_are_over_nothing_is_told(rows: Rows, sessions: db.Sessions) -> None:
    project = rows.project()
    used = {"max_requests": 10, "request_count": 9}
    rows.token(project, digest="d1", expires_at=NOW + timedelta(days=1), is_active=False, **used)
    rows.token(project, digest="d2", expires_at=NOW - timedelta(days=1), **used)
    rows.token(project, digest="d3", expires_at=NOW + timedelta(days=1), request_count=9)

    with db.reading(sessions) as session:
        assert attention.nearly_used_up(session, NOW) == []
        assert [each.digest for each in attention.expiring(session, NOW)] == ["d3"]


def test_the_next_token_to_expire_comes_first(rows: Rows, sessions: db.Sessions) -> None:
    search, chat = rows.project(name="search"), rows.project(name="chat")
    for digest, project, days in [("d1", search, 3), ("d2", chat, 1), ("d3", search, 8), ("d4", search, 2)]:
        rows.token(project, digest=digest, expires_at=NOW + timedelta(days=days))

    with db.reading(sessions) as session:
        everything = [each.digest for each in attention.expiring(session, NOW)]
        some = [each.digest for each in attention.expiring(session, NOW, Scope(frozenset([search.id])))]
        first = [each.digest for each in attention.expiring(session, NOW, most=1)]

    assert (everything, some, first) == (["d2", "d4", "d1"], ["d4", "d1"], ["d2"])
