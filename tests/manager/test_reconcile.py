"""Rules of reconciling: each way in which Redis can differ is found and mended, and nothing else is touched."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from manager import db, projects, publications, tombstones
from manager.collector import Collector
from manager.publications import Name
from manager.publisher import Publisher
from manager.publishing import WrongRedis
from manager.reconcile import BATCH, REMOVED_COUNT, Reconciler
from manager.tables import Project, Token, UpstreamKey
from shared import holds_schema, redis_schema
from shared.holds_schema import OpenRequest
from shared.limits_schema import period_of
from shared.models import Amounts, Caller, Limit, Measure, Scope, UsageEvent, Window
from shared.redis_schema import BreakerChange, Denied
from tests.manager.conftest import EVENT, NOW, Rows
from tests.manager.test_publisher import admit, once_read
from tests.shared.limit_scripts import counter

LIMIT = {"measure": "requests", "window": "day", "amount": 5, "on_outage": "closed"}
STRANGER = UUID("018f0000-0000-7000-8000-0000000000ff")


@dataclass
class World:
    """A project with a key and an origin, two tokens, of which one was refreshed; all of it published."""

    client: redis.Redis
    sessions: db.Sessions
    rows: Rows
    reconciler: Reconciler
    project: Project
    token: Token
    refreshed: Token

    def record(self, digest: str = "d1") -> str:
        return redis_schema.token_key(digest)

    def identity(self) -> str:
        return redis_schema.identity_key(str(self.token.id))

    def found(self) -> list[tuple[str, str]]:
        return [(each.kind, each.problem) for each in self.reconciler.check().differences]


@pytest.fixture
def world(redis_client: redis.Redis, sessions: db.Sessions, rows: Rows) -> World:
    project = rows.project("sealed", cors_origins=["https://a.example.org"])
    token = rows.token(project, request_count=3, limits=(Limit(Measure.TOKENS, Window.LIFE, 100),))
    later = datetime.now(UTC) + timedelta(hours=1)
    refreshed = rows.token(project, digest="d3", previous_digest="d2", previous_until=later, version=2)
    publisher = Publisher(redis_client, sessions)
    publisher.republish_all()
    reconciler = Reconciler(redis_client, sessions, pause=0.0)
    return World(redis_client, sessions, rows, reconciler, project, token, refreshed)


def set_limits(world: World) -> None:
    with world.sessions.begin() as session:
        publications.set_global_limits(session, NOW, [LIMIT])


def strange_identity(world: World) -> None:
    world.client.hset(redis_schema.identity_key(str(STRANGER)), mapping={"version": 1, "record": "x", "is_active": 1})


def strange_breaker(world: World, key_id: UUID = STRANGER) -> None:
    subject = redis_schema.key_subject(str(key_id))
    payload = redis_schema.encode_control(BreakerChange(subject, True, "status_401", 9, 1))
    world.client.hset(redis_schema.BREAKERS, subject, payload)


def switched_off_key(world: World) -> None:
    strange_breaker(world, world.project.keys[0].id)
    other = UpstreamKey(project_id=world.project.id, sealed="other", masked="sk", created_at=NOW)
    world.rows.add(other)
    world.rows.change(world.project.keys[0], is_active=False)
    world.rows.change(world.project, version=2)
    Publisher(world.client, world.sessions).publish_pending()


def purged(world: World, key: str) -> None:
    world.client.delete(key)
    world.client.hset(key, mapping={"version": 9, "purged": 1, "is_active": 0})


def price(world: World) -> None:
    world.client.set(redis_schema.PRICES, b"{}")


def event_of(world: World, **changes: Any) -> UsageEvent:
    """A request of the token that used thirty."""
    return replace(EVENT, project_id=str(world.project.id), token_id=str(world.token.id), **changes)


def take(world: World, tokens: int) -> Caller | Denied:
    """Admit a request that may need so much, and is held."""
    request = holds_schema.encode_request(OpenRequest("r1", NOW, "openai", "chat.completions", "POST"))
    amounts = Amounts(tokens, 0)
    script = world.client.register_script(redis_schema.script("admit"))
    keys, arguments = redis_schema.encode_admission("d1", ["openai"], amounts, request, request_id="r1")
    return redis_schema.decode_admission(script(keys, arguments))


def settle(world: World, caller: Caller, event: UsageEvent) -> None:
    """End it."""
    script = world.client.register_script(redis_schema.script("settle"))
    script(*holds_schema.encode_settlement(caller.hold, event, Amounts(event.usage.total_tokens, 0)))


def spend(world: World) -> None:
    """Tokens that limits of all three scopes have counted."""
    limit = {"measure": "tokens", "window": "life", "amount": 1000, "on_outage": "closed"}
    with world.sessions.begin() as session:
        publications.set_global_limits(session, NOW, [limit])
    world.rows.change(world.project, limits=(Limit(Measure.TOKENS, Window.DAY, 100),), version=2)
    event = event_of(world, occurred_at=datetime.now(UTC))
    world.client.xadd(redis_schema.USAGE_STREAM, redis_schema.encode_event(event))
    Publisher(world.client, world.sessions).republish_all()
    assert world.found() == []


def used(world: World, scope: Scope) -> str:
    return redis_schema.used_key(scope, str(world.token.id))


def spoil_shared(world: World, field: str, value: bytes) -> None:
    spend(world)
    world.client.hset(used(world, Scope.GLOBAL), field.replace("ID", str(world.project.id)), value)


def retyped(world: World, key: str) -> None:
    world.client.delete(key)
    world.client.zadd(key, {"x": 1})


UNREADABLE = b"llmproxy:{v1}:%s:\xff\xfe"
TOMORROW = int(datetime.now(UTC).timestamp()) + 86_400


# What is done to Redis or to SQL behind the other's back, and what is said of it.
FAULTS: dict[str, tuple[Callable[[World], object], list[tuple[str, str]]]] = {
    "no epoch": (lambda w: w.client.delete(redis_schema.EPOCH), [("epoch", "missing")]),
    "token lost": (lambda w: w.client.delete(w.record()), [("token", "missing")]),
    "identity lost": (lambda w: w.client.delete(w.identity()), [("identity", "missing")]),
    "alias lost": (lambda w: w.client.delete(w.record("d2")), [("alias", "missing")]),
    "alias led astray": (lambda w: w.client.hset(w.record("d2"), "moved_to", "x"), [("alias", "changed")]),
    "token older": (lambda w: w.rows.change(w.token, version=4, label="new"), [("token", "stale")]),
    "token newer": (lambda w: w.client.hset(w.record(), "version", 7), [("token", "newer")]),
    "token switched on": (
        lambda w: [w.rows.change(w.token, is_active=False), w.client.hset(w.record(), "is_active", 1)],
        [("token", "changed")],
    ),
    "limit raised": (lambda w: w.client.hset(w.record(), "max_requests", 9), [("token", "changed")]),
    "limits gone": (lambda w: w.client.hset(w.record(), "limits", ""), [("token", "changed")]),
    "field gone": (lambda w: w.client.hdel(w.record(), "expires_at"), [("token", "changed")]),
    "count taken back": (lambda w: w.client.hset(w.record(), "requests", 1), [("token", "changed")]),
    "count unreadable": (lambda w: w.client.hset(w.record(), "requests", "x"), [("token", "damaged")]),
    "version unreadable": (lambda w: w.client.hset(w.record(), "version", "x"), [("token", "damaged")]),
    "no record": (lambda w: w.client.set(w.record(), "no record"), [("token", "damaged")]),
    "token counts as purged": (lambda w: purged(w, w.identity()), [("token", "purged")]),
    "project lost": (
        lambda w: w.client.delete(redis_schema.project_key(str(w.project.id))),
        [("project", "missing")],
    ),
    "project changed": (
        lambda w: w.client.hset(redis_schema.project_key(str(w.project.id)), "record", "{}"),
        [("project", "changed")],
    ),
    "project newer": (
        lambda w: w.client.hset(redis_schema.project_key(str(w.project.id)), "version", 7),
        [("project", "newer")],
    ),
    "project counts as purged": (
        lambda w: purged(w, redis_schema.project_key(str(w.project.id))),
        [("project", "purged")],
    ),
    "strange token": (
        lambda w: w.client.copy(w.record(), w.record("d9")),
        [("token", "orphan")],
    ),
    "secret that has ended": (
        lambda w: w.rows.change(w.refreshed, previous_until=datetime(2026, 1, 1, tzinfo=UTC)),
        [("token", "orphan")],
    ),
    "strange identity": (strange_identity, [("identity", "orphan")]),
    "strange project": (
        lambda w: w.client.hset(redis_schema.project_key("nobody"), "version", 1),
        [("project", "orphan")],
    ),
    "strange usage": (
        lambda w: w.client.hset(redis_schema.used_key(Scope.TOKEN, str(STRANGER)), "tokens:life", ":5"),
        [("used", "orphan")],
    ),
    "usage of a strange project": (
        lambda w: w.client.hset(redis_schema.used_key(Scope.GLOBAL), f"{STRANGER}:tokens:life", ":5"),
        [("usage", "leftover")],
    ),
    "limits of all": (set_limits, [("limits", "changed")]),
    "prices": (price, [("prices", "changed")]),
    "origin lost": (lambda w: w.client.delete(redis_schema.CORS_ORIGINS), [("origins", "changed")]),
    "origin added": (
        lambda w: w.client.sadd(redis_schema.CORS_ORIGINS, "https://evil.example.org"),
        [("origins", "changed")],
    ),
    "what all have used lost": (
        lambda w: [spend(w), w.client.delete(used(w, Scope.GLOBAL))],
        [("project_counters", "behind"), ("global_counters", "behind")],
    ),
    "what a token has used lost": (
        lambda w: [spend(w), w.client.delete(used(w, Scope.TOKEN))],
        [("token_counters", "behind")],
    ),
    "what a token has used damaged": (
        lambda w: [spend(w), w.client.delete(used(w, Scope.TOKEN)), w.client.set(used(w, Scope.TOKEN), "x", 10**7)],
        [("token_counters", "damaged")],
    ),
    "a counter of a token damaged": (
        lambda w: [spend(w), w.client.hset(used(w, Scope.TOKEN), "tokens:life", "x")],
        [("token_counters", "damaged")],
    ),
    "a counter of a project lower": (
        lambda w: spoil_shared(w, "ID:tokens:day", counter(29, period_of(Window.DAY, datetime.now(UTC)))),
        [("project_counters", "behind")],
    ),
    "a counter of a project of yesterday": (
        lambda w: spoil_shared(w, "ID:tokens:day", counter(99, period_of(Window.DAY, datetime.now(UTC)) - 1)),
        [("project_counters", "behind")],
    ),
    "a counter of a project damaged": (
        lambda w: spoil_shared(w, "ID:tokens:day", b"x"),
        [("project_counters", "damaged")],
    ),
    "a counter of all damaged": (
        lambda w: spoil_shared(w, "tokens:life", b""),
        [("global_counters", "damaged")],
    ),
    "token for ever": (lambda w: w.client.persist(w.record()), [("token", "changed")]),
    "token ends too early": (lambda w: w.client.expireat(w.record(), TOMORROW), [("token", "changed")]),
    "identity ends too early": (lambda w: w.client.expireat(w.identity(), TOMORROW), [("identity", "changed")]),
    "alias for ever": (lambda w: w.client.persist(w.record("d2")), [("alias", "changed")]),
    "project ends": (
        lambda w: w.client.expireat(redis_schema.project_key(str(w.project.id)), TOMORROW),
        [("project", "changed")],
    ),
    "what a token has used for ever": (
        lambda w: [spend(w), w.client.persist(used(w, Scope.TOKEN))],
        [("token_counters", "changed")],
    ),
    "version beyond all": (lambda w: w.client.hset(w.record(), "version", 2**31), [("token", "damaged")]),
    "epoch of another type": (
        lambda w: retyped(w, redis_schema.EPOCH),
        [("key", "damaged"), ("epoch", "missing")],
    ),
    "limits of another type": (lambda w: retyped(w, redis_schema.GLOBAL_LIMITS), [("key", "damaged")]),
    "prices of another type": (lambda w: retyped(w, redis_schema.PRICES), [("key", "damaged")]),
    "origins of another type": (lambda w: retyped(w, redis_schema.CORS_ORIGINS), [("key", "damaged")]),
    "breakers of another type": (lambda w: retyped(w, redis_schema.BREAKERS), [("key", "damaged")]),
    "uses of another type": (lambda w: retyped(w, used(w, Scope.GLOBAL)), [("key", "damaged")]),
    "token that is no text": (lambda w: w.client.hset(UNREADABLE % b"token", "id", "x"), [("token", "orphan")]),
    "token with a zero": (lambda w: w.client.hset(w.record("a\0b"), "id", "x"), [("token", "orphan")]),
    "identity that is no text": (lambda w: w.client.set(UNREADABLE % b"identity", "x"), [("identity", "orphan")]),
    "project that is no text": (lambda w: w.client.set(UNREADABLE % b"project", "x"), [("project", "orphan")]),
    "use that is no text": (
        lambda w: w.client.hset(used(w, Scope.GLOBAL), b"\xff:tokens:life", "x"),
        [("usage", "leftover")],
    ),
    "breaker that is no text": (
        lambda w: w.client.hset(redis_schema.BREAKERS, b"key:\xff", "x"),
        [("breaker", "leftover")],
    ),
    "origin that is no text": (
        lambda w: w.client.sadd(redis_schema.CORS_ORIGINS, b"\xff"),
        [("origins", "changed")],
    ),
    "breaker of nobody's key": (strange_breaker, [("breaker", "leftover")]),
    "breaker of a key that is off": (switched_off_key, [("breaker", "leftover")]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_differs_is_found_and_mended(world: World, name: str) -> None:
    spoil, expected = FAULTS[name]
    before = world.found()
    spoil(world)

    found, mended, left = world.found(), world.reconciler.mend(), world.found()

    assert before == []
    assert found == expected
    assert [(each.kind, each.problem) for each in mended.differences] == expected
    assert left == []


def test_what_is_mended_works_as_sql_says(world: World) -> None:
    world.client.hset(world.record(), "version", 9)
    world.client.delete(world.record("d2"))

    world.reconciler.mend()

    assert admit(world.client, "d1") and admit(world.client, "d2")
    assert world.rows.fresh(world.token).version == 10


def test_a_record_of_nobody_lets_nobody_in_any_longer(world: World) -> None:
    world.client.copy(world.record(), world.record("d9"))
    before = admit(world.client, "d9")

    world.reconciler.mend()

    assert before and not admit(world.client, "d9")
    assert admit(world.client, "d1")


def test_the_fields_that_differ_are_named_and_no_values(world: World) -> None:
    world.client.hset(world.record(), mapping={"label": "secret", "limits": ""})

    [difference] = world.reconciler.check().differences

    assert (difference.id, difference.fields) == (str(world.token.id), ("label", "limits"))
    assert "secret" not in str(world.reconciler.check().to_json())


def test_what_was_purged_and_is_remembered_is_no_difference(world: World) -> None:
    with world.sessions.begin() as session:
        tombstones.add(session, "token", world.token.id, 2, datetime.now(UTC), "d1")
        session.execute(sa.delete(Token).where(Token.id == world.token.id))
    Publisher(world.client, world.sessions).publish_tombstones()

    assert world.found() == []
    assert world.client.exists(world.identity())


def test_counts_that_sql_has_not_heard_of_are_no_difference(world: World) -> None:
    admit(world.client, "d1")

    assert world.found() == []


def test_when_a_token_was_last_used_is_no_difference_whose_clock_it_ever_was(world: World) -> None:
    collector = Collector(world.client, world.sessions)
    collector.collect_once(1)
    caller = take(world, 50)
    assert isinstance(caller, Caller)
    moment = datetime.now(UTC) + timedelta(milliseconds=50)  # A worker's clock is its own.
    settle(world, caller, event_of(world, sequence=caller.sequence, occurred_at=moment))

    collected = collector.collect_once(1)

    assert (collected, world.rows.fresh(world.token).last_used_at) == (1, moment)
    assert world.found() == []


def test_counters_that_are_ahead_of_sql_are_no_difference(world: World) -> None:
    spend(world)
    for key, field in ((Scope.TOKEN, "tokens:life"), (Scope.GLOBAL, "tokens:life")):
        world.client.hset(used(world, key), field, counter(99))
    world.client.hset(used(world, Scope.GLOBAL), f"{world.project.id}:tokens:day", counter(1, 2**20))

    assert world.found() == []


def test_a_budget_whose_counter_was_lost_is_spent_again_after_mending(world: World) -> None:
    world.rows.change(world.token, limits=(Limit(Measure.TOKENS, Window.LIFE, 30),), version=2)
    spend(world)
    world.client.delete(used(world, Scope.TOKEN))

    admitted = [bool(take(world, 1)), world.reconciler.mend(), bool(take(world, 1))]

    assert (admitted[0], admitted[2]) == (True, False)


def test_what_projects_and_everything_have_used_is_no_difference(world: World) -> None:
    fields = {f"{world.project.id}:tokens:life": "1:5", "tokens:life": "1:5"}
    world.client.hset(redis_schema.used_key(Scope.GLOBAL), mapping=fields)

    assert world.found() == []
    world.reconciler.mend()
    assert len(world.client.hgetall(redis_schema.used_key(Scope.GLOBAL))) == 2


def test_tokens_that_are_long_forgotten_are_no_difference(world: World) -> None:
    world.rows.token(world.project, digest="old", expires_at=datetime.now(UTC) - timedelta(days=8))

    assert world.found() == []


def test_a_change_that_is_on_its_way_is_no_difference(world: World) -> None:
    world.rows.change(world.token, version=2, label="new")
    publisher = Publisher(world.client, world.sessions)
    reconciler = Reconciler(world.client, world.sessions, sleep=lambda _: (publisher.publish_pending(), None)[1])

    assert reconciler.check().is_equal


def test_a_token_that_is_purged_while_it_is_looked_at_is_no_difference(world: World, engine: sa.Engine) -> None:
    def purge() -> None:
        with world.sessions.begin() as session:
            tombstones.add(session, "token", world.token.id, 2, datetime.now(UTC), "d1")
            session.execute(sa.delete(Token).where(Token.id == world.token.id))
        Publisher(world.client, world.sessions).publish_tombstones()

    once_read(engine, "tokens", purge)

    assert world.reconciler.check().is_equal


def test_checking_changes_nothing(world: World) -> None:
    world.client.delete(world.record())
    world.client.copy(world.record("d3"), world.record("d9"))
    before = sorted(world.client.keys("*"))

    world.reconciler.check()

    assert sorted(world.client.keys("*")) == before


def test_more_than_one_batch_is_compared_completely(world: World) -> None:
    world.rows.tokens(world.project, BATCH + 1)
    Publisher(world.client, world.sessions).publish_pending()
    world.client.delete(redis_schema.token_key(f"{BATCH:064}"), redis_schema.token_key(f"{0:064}"))

    report = world.reconciler.check()

    assert report.counts == {"token.missing": 2}
    assert report.compared["tokens"] == BATCH + 3


def test_prices_that_change_are_published_by_mending(world: World) -> None:
    with world.sessions.begin() as session:
        publications.touch(session, Name.PRICES, NOW)

    assert world.found() == []  # Nothing but the number of the version has changed.


def test_a_request_that_ends_after_its_project_was_purged_leaves_nothing_behind(world: World) -> None:
    spend(world)
    caller = take(world, 10)
    assert isinstance(caller, Caller)
    with world.sessions.begin() as session:
        projects.delete(session, NOW, projects.get(session, world.project.id))
    with world.sessions.begin() as session:
        projects.purge(session, datetime.now(UTC), projects.get(session, world.project.id))
    Publisher(world.client, world.sessions).publish_pending()

    settle(world, caller, event_of(world, sequence=caller.sequence))

    assert world.found() == []
    assert not world.client.exists(used(world, Scope.TOKEN))
    assert list(world.client.hgetall(used(world, Scope.GLOBAL))) == [b"tokens:life"]


def test_what_a_token_has_used_is_forgotten_with_it_also_if_it_was_lost_while_a_request_ran(world: World) -> None:
    caller = take(world, 10)
    assert isinstance(caller, Caller)
    world.client.delete(used(world, Scope.TOKEN))

    settle(world, caller, event_of(world, sequence=caller.sequence))

    assert world.client.pexpiretime(used(world, Scope.TOKEN)) == world.client.pexpiretime(world.record())


# What is badly damaged, or belongs to somebody else


def test_uses_of_another_type_are_found_and_budgets_are_spent_again_after_mending(world: World) -> None:
    spend(world)
    retyped(world, used(world, Scope.GLOBAL))

    found, _, left = world.found(), world.reconciler.mend(), world.found()

    assert (found, left) == ([("key", "damaged")], [])


def test_a_damaged_record_does_not_keep_a_lost_redis_from_being_mended(world: World) -> None:
    world.client.delete(redis_schema.EPOCH)
    retyped(world, world.record())

    world.reconciler.mend()

    assert world.found() == [] and admit(world.client)


def test_names_that_are_no_text_can_be_told(world: World) -> None:
    world.client.hset(UNREADABLE % b"token", "id", "x")

    report = world.reconciler.check()

    assert report.differences[0].id == "llmproxy:{v1}:token:\\xff\\xfe"
    assert "\n".join(report.lines(is_mended=False)).encode()


def belongs_to_another(world: World) -> dict[bytes, object]:
    world.client.set(redis_schema.DATABASE, str(STRANGER))
    world.client.copy(world.record("d3"), world.record("d9"))
    return {key: world.client.dump(key) for key in world.client.keys("*")}


@pytest.mark.parametrize("run", ["check", "mend", "mend_unattended"])
def test_a_redis_of_another_database_is_not_touched(world: World, run: str) -> None:
    before = belongs_to_another(world)

    with pytest.raises(WrongRedis, match="--adopt"):
        getattr(world.reconciler, run)()

    assert {key: world.client.dump(key) for key in world.client.keys("*")} == before


def test_a_redis_of_another_database_can_be_adopted(world: World) -> None:
    belongs_to_another(world)

    world.reconciler.mend(is_adopting=True)

    assert world.found() == [] and not world.client.exists(world.record("d9"))


def add_strangers(world: World, count: int) -> None:
    with world.client.pipeline() as pipeline:
        for number in range(count):
            pipeline.hset(world.record(f"stranger{number}"), "id", "x")
        pipeline.execute()


def test_unattended_little_is_removed(world: World) -> None:
    add_strangers(world, REMOVED_COUNT)
    world.client.delete(world.record())

    report = world.reconciler.mend_unattended()

    assert (report.withheld, world.found()) == (0, [])


def test_unattended_much_is_left_to_a_person_and_all_else_mended(world: World) -> None:
    add_strangers(world, REMOVED_COUNT + 1)
    world.client.delete(world.record())

    report = world.reconciler.mend_unattended()

    assert (report.withheld, report.summary()["withheld"]) == (REMOVED_COUNT + 1,) * 2
    assert world.found() == [("token", "orphan")] * (REMOVED_COUNT + 1)
    world.reconciler.mend()
    assert world.found() == []


def test_unattended_a_small_share_of_much_is_removed(world: World) -> None:
    world.rows.tokens(world.project, 6 * REMOVED_COUNT)
    Publisher(world.client, world.sessions).publish_pending()
    add_strangers(world, REMOVED_COUNT + 1)

    assert world.reconciler.mend_unattended().withheld == 0
    assert world.found() == []
