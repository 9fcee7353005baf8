"""The Lua scripts on a real Valkey: who is admitted, who is denied and why, what is counted, what a publish changes."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
import redis
import time_machine

from shared import redis_schema
from shared.models import Caller, Denial, Policy, Project, Token, UpstreamKey
from shared.redis_schema import ContractError, ControlMessage, Denied, Revoked

DIGEST = "ab" * 32
PROJECT = Project("p1", "openai", True, "https://api.example.org", (UpstreamKey("k1", "v1.k1.sealed"),), 1)
TOKEN = Token("t1", DIGEST, "p1", "demo", True, datetime(2100, 1, 1, tzinfo=UTC), None, 0, None, 1)
PAST = datetime(2026, 1, 1, tzinfo=UTC)
SCRIPTS = ["admit", "publish_token", "publish_project"]


class Store:
    """Runs the scripts as publisher and data plane do."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._scripts = {name: client.register_script(redis_schema.script(name)) for name in SCRIPTS}

    def publish(self, *records: Token | Project) -> list[int]:
        return [self._publish(record) for record in records]

    def _publish(self, record: Token | Project) -> int:
        if isinstance(record, Token):
            keys, arguments = redis_schema.encode_token(record)
            return self._scripts["publish_token"](keys, arguments)
        keys, arguments = redis_schema.encode_project(record)
        return self._scripts["publish_project"](keys, arguments)

    def admit(self, digest: str = DIGEST, providers: tuple[str, ...] = ("anthropic", "openai")) -> Caller | Denied:
        return redis_schema.decode_admission(self._scripts["admit"](*redis_schema.encode_admission(digest, providers)))

    def record(self, token: Token = TOKEN) -> dict[str, str]:
        found = self.client.hgetall(redis_schema.token_key(token.digest))
        return {name.decode(): value.decode() for name, value in found.items()}

    def now(self) -> datetime:
        seconds, microseconds = self.client.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


@pytest.fixture
def empty(redis_client: redis.Redis) -> Store:
    """A store to which nothing has been published."""
    return Store(redis_client)


@pytest.fixture
def store(empty: Store) -> Store:
    """A store that is ready and knows one token of one project."""
    empty.client.set(redis_schema.EPOCH, "1")
    empty.publish(PROJECT, TOKEN)
    return empty


# Admission


def test_a_known_token_is_admitted_as_the_caller_that_was_published(store: Store) -> None:
    assert store.admit() == Caller("t1", "demo", PROJECT, 1)


def test_labels_and_records_of_any_text_come_back_unchanged(store: Store) -> None:
    project = replace(PROJECT, version=2, base_url='https://ü.example/"\\\n')
    store.publish(project, replace(TOKEN, version=2, label="Müllers\n'Skript' – %d"))

    assert store.admit() == Caller("t1", "Müllers\n'Skript' – %d", project, 1)


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(("gpt-4o*", "ü\n"), ("*-preview",), ("logit_bias",), {"max_tokens": 100, "top_p": 0.5})],
    ids=["none", "all of it"],
)
def test_a_caller_comes_with_the_policy_of_token_and_project(store: Store, policy: Policy) -> None:
    project = replace(PROJECT, version=2, policy=Policy(denied_models=("o1*",)))
    store.publish(project, replace(TOKEN, version=2, policy=policy))

    assert store.admit() == Caller("t1", "demo", project, 1, policy)


def test_a_policy_that_is_taken_back_holds_no_longer(store: Store) -> None:
    store.publish(replace(TOKEN, version=2, policy=Policy(("gpt-4o",))))
    store.publish(replace(TOKEN, version=3))

    assert store.admit() == Caller("t1", "demo", PROJECT, 1, Policy())


def test_a_token_published_by_an_earlier_release_has_no_policy(store: Store) -> None:
    store.client.hdel(redis_schema.token_key(DIGEST), "policy")

    assert store.admit() == Caller("t1", "demo", PROJECT, 1, Policy())


@pytest.mark.parametrize("policy", ["{", "[]", "none", '{"allowed_models":"gpt-4o"}'])
def test_a_damaged_policy_admits_nobody(store: Store, policy: str) -> None:
    store.client.hset(redis_schema.token_key(DIGEST), "policy", policy)

    with pytest.raises(ContractError):
        store.admit()


def unready(store: Store) -> None:
    store.client.delete(redis_schema.EPOCH)


def unknown(store: Store) -> None:
    store.client.delete(redis_schema.token_key(DIGEST))


def revoked(store: Store) -> None:
    store.client.hset(redis_schema.token_key(DIGEST), "is_active", "0")


def expired(store: Store) -> None:
    store.client.hset(redis_schema.token_key(DIGEST), "expires_at", redis_schema.to_ms(PAST))


def unpublished_project(store: Store) -> None:
    store.client.delete(redis_schema.project_key("p1"))


def inactive_project(store: Store) -> None:
    if store.client.exists(redis_schema.project_key("p1")):
        store.publish(replace(PROJECT, is_active=False))


def other_provider(store: Store) -> None:
    if store.client.exists(redis_schema.project_key("p1")):
        store.client.hset(redis_schema.project_key("p1"), "provider", "mistral")


def used_up(store: Store) -> None:
    if store.record():
        store.client.hset(redis_schema.token_key(DIGEST), mapping={"max_requests": 3, "requests": 3})


# What can be wrong, in the order in which it is noticed; each with its reason and whether the token is named with it.
FAULTS: dict[Callable[[Store], None], tuple[Denial, bool]] = {
    unready: (Denial.NOT_READY, False),
    unknown: (Denial.TOKEN_NOT_FOUND, False),
    revoked: (Denial.TOKEN_INACTIVE, True),
    expired: (Denial.TOKEN_EXPIRED, True),
    unpublished_project: (Denial.NOT_READY, True),
    inactive_project: (Denial.PROJECT_INACTIVE, True),
    other_provider: (Denial.ENDPOINT_NOT_FOUND, True),
    used_up: (Denial.QUOTA_EXCEEDED, True),
}
ORDER = list(FAULTS)


@pytest.mark.parametrize("count", range(1, len(ORDER) + 1))
def test_of_several_faults_the_first_in_order_is_the_reason(store: Store, count: int) -> None:
    for faults in combinations(ORDER, count):
        store.client.flushdb()
        store.client.set(redis_schema.EPOCH, "1")
        store.publish(PROJECT, TOKEN)
        # A token that is gone has no record in which more could be wrong.
        for fault in [fault for fault in faults if unknown not in faults or fault not in (revoked, expired, used_up)]:
            fault(store)

        before = store.record()
        verdict = store.admit()

        reason, is_named = FAULTS[faults[0]]
        assert isinstance(verdict, Denied), faults
        assert verdict.reason == reason, faults
        assert (verdict.token_id, verdict.token_label) == (("t1", "demo") if is_named else ("", "")), faults
        assert store.record() == before, "a denied request is neither counted nor remembered"


@pytest.mark.parametrize("fault", [revoked, expired, inactive_project, used_up])
def test_a_denial_carries_the_project_so_that_it_can_be_worded_for_its_provider(
    store: Store, fault: Callable[[Store], None]
) -> None:
    fault(store)

    verdict = store.admit()

    assert isinstance(verdict, Denied)
    assert verdict.project is not None
    assert verdict.project.provider == "openai"


def test_an_empty_redis_answers_not_ready_and_never_token_not_found(empty: Store) -> None:
    assert empty.admit() == Denied(Denial.NOT_READY, "", "", None)


def test_a_token_is_found_by_its_digest_only(store: Store) -> None:
    assert store.admit("cd" * 32) == Denied(Denial.TOKEN_NOT_FOUND, "", "", None)
    assert not store.client.exists(redis_schema.token_key("cd" * 32))


@pytest.mark.parametrize(
    ("providers", "is_served"),
    [
        (("openai",), True),
        (("anthropic", "openai"), True),
        (("openai", "anthropic"), True),
        (("anthropic",), False),
        (("open",), False),
        ((), False),
    ],
)
def test_the_project_must_be_of_a_provider_that_has_the_route(
    store: Store, providers: tuple[str, ...], is_served: bool
) -> None:
    verdict = store.admit(providers=providers)

    assert bool(verdict) is is_served
    assert store.record()["requests"] == ("1" if is_served else "0")
    assert (store.record()["last_used_at"] != "0") is is_served


@pytest.mark.parametrize("field", ["id", "project_id", "is_active", "expires_at", "max_requests", "requests"])
def test_a_damaged_token_record_admits_nobody(store: Store, field: str) -> None:
    store.publish(replace(TOKEN, max_requests=5, version=2))
    store.client.hdel(redis_schema.token_key(DIGEST), field)

    try:
        verdict = store.admit()
    except redis.ResponseError:
        return

    assert isinstance(verdict, Denied)


@pytest.mark.parametrize("field", ["is_active", "provider", "record"])
def test_a_damaged_project_record_admits_nobody(store: Store, field: str) -> None:
    store.client.hdel(redis_schema.project_key("p1"), field)

    try:
        verdict = store.admit()
    except ContractError:
        return

    assert isinstance(verdict, Denied)


# Counting


def test_requests_are_numbered_from_one_and_counted(store: Store) -> None:
    sequences = [store.admit().sequence for _ in range(5)]

    assert sequences == [1, 2, 3, 4, 5]
    assert store.record()["requests"] == "5"


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_limit_lets_exactly_that_many_requests_through(store: Store, limit: int) -> None:
    store.publish(replace(TOKEN, max_requests=limit, version=2))

    verdicts = [store.admit() for _ in range(limit + 2)]

    assert [bool(verdict) for verdict in verdicts] == [True] * limit + [False] * 2
    assert {verdict.reason for verdict in verdicts if isinstance(verdict, Denied)} == {Denial.QUOTA_EXCEEDED}
    assert store.record()["requests"] == str(limit)


def test_a_limit_is_exact_under_fifty_concurrent_threads(store: Store) -> None:
    store.publish(replace(TOKEN, max_requests=73, version=2))

    with ThreadPoolExecutor(50) as threads:
        verdicts = list(threads.map(lambda _: store.admit(), range(400)))

    admitted = [verdict for verdict in verdicts if isinstance(verdict, Caller)]
    denied = Counter(verdict.reason for verdict in verdicts if isinstance(verdict, Denied))
    assert sorted(caller.sequence for caller in admitted) == list(range(1, 74))
    assert denied == {Denial.QUOTA_EXCEEDED: 400 - 73}
    assert store.record()["requests"] == "73"


def test_each_token_has_its_own_count(store: Store) -> None:
    other = replace(TOKEN, id="t2", digest="cd" * 32, label="other")
    store.publish(other)
    store.admit()

    caller = store.admit(other.digest)

    assert isinstance(caller, Caller)
    assert (caller.token_id, caller.sequence) == ("t2", 1)


def test_the_time_of_the_last_admitted_request_is_remembered(store: Store) -> None:
    before = store.now()
    store.admit()
    after = store.now()

    written = store.record()["last_used_at"]
    assert re.fullmatch(r"[0-9]{13}", written)
    assert redis_schema.to_ms(before) - 1 <= int(written) <= redis_schema.to_ms(after)


# Expiry


@pytest.mark.parametrize(("lead", "is_admitted"), [(-1, False), (0, False), (1, True)])
def test_a_token_expires_at_its_very_millisecond(store: Store, lead: int, is_admitted: bool) -> None:
    # A script sees one moment from start to end, so the record can be written for exactly that moment.
    set_expiry = """
        local clock = redis.call('TIME')
        local moment = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[#ARGV]
        redis.call('HSET', KEYS[1], 'expires_at', string.format('%.0f', moment))
    """
    keys, arguments = redis_schema.encode_admission(DIGEST, ["openai"])

    reply = store.client.eval(set_expiry + redis_schema.script("admit"), len(keys), *keys, *arguments, str(lead))

    verdict = redis_schema.decode_admission(reply)
    assert isinstance(verdict, Caller) is is_admitted
    assert is_admitted or verdict.reason == Denial.TOKEN_EXPIRED


@pytest.mark.parametrize("worker_clock", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)])
def test_the_clock_that_counts_is_the_servers(store: Store, worker_clock: datetime) -> None:
    now = store.now()
    store.publish(replace(TOKEN, id="t2", digest="live", expires_at=now + timedelta(minutes=5)))
    store.publish(replace(TOKEN, id="t3", digest="dead", expires_at=now - timedelta(seconds=1)))

    with time_machine.travel(worker_clock, tick=False):
        live, dead = store.admit("live"), store.admit("dead")

    assert isinstance(live, Caller)
    assert isinstance(dead, Denied)
    assert dead.reason == Denial.TOKEN_EXPIRED


# Publishing


def test_a_published_token_forgets_itself_a_week_after_it_expired(store: Store) -> None:
    expires_at = datetime(2090, 5, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    store.publish(replace(TOKEN, version=2, expires_at=expires_at))

    moment = store.client.pexpiretime(redis_schema.token_key(DIGEST))

    assert redis_schema.from_ms(moment) == expires_at + timedelta(days=7)


def test_an_expired_token_is_told_apart_from_an_unknown_one_for_a_week(store: Store) -> None:
    week = redis_schema.REMEMBER_EXPIRED
    store.publish(replace(TOKEN, id="t2", digest="lately", expires_at=store.now() - week + timedelta(minutes=1)))
    store.publish(replace(TOKEN, id="t3", digest="long ago", expires_at=store.now() - week - timedelta(minutes=1)))

    reasons = [store.admit("lately").reason, store.admit("long ago").reason]

    assert reasons == [Denial.TOKEN_EXPIRED, Denial.TOKEN_NOT_FOUND]


def test_a_project_record_does_not_expire(store: Store) -> None:
    assert store.client.ttl(redis_schema.project_key("p1")) == -1


@pytest.mark.parametrize(("version", "is_written"), [(4, False), (5, True), (6, True), (10, True)])
def test_a_late_write_cannot_bring_back_a_revoked_token(store: Store, version: int, is_written: bool) -> None:
    store.publish(replace(TOKEN, version=5, is_active=False))
    before = store.record(), store.client.pexpiretime(redis_schema.token_key(DIGEST))

    late = replace(TOKEN, version=version, expires_at=datetime(2200, 1, 1, tzinfo=UTC), request_count=9)
    [answer] = store.publish(late)

    after = store.record(), store.client.pexpiretime(redis_schema.token_key(DIGEST))
    assert answer == int(is_written)
    assert bool(store.admit()) is is_written
    assert (after == before) is not is_written


@pytest.mark.parametrize(("version", "is_written"), [(4, False), (5, True), (6, True), (10, True)])
def test_a_late_write_cannot_bring_back_a_deactivated_project(store: Store, version: int, is_written: bool) -> None:
    store.publish(replace(PROJECT, version=5, is_active=False))

    [answer] = store.publish(replace(PROJECT, version=version))

    assert answer == int(is_written)
    assert bool(store.admit()) is is_written


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("published", "expected"), [(0, 3), (2, 3), (3, 3), (10, 10)])
def test_a_republish_never_gives_requests_back(store: Store, version: int, published: int, expected: int) -> None:
    for _ in range(3):
        store.admit()

    store.publish(replace(TOKEN, version=version, request_count=published))

    assert store.record()["requests"] == str(expected)
    assert store.admit().sequence == expected + 1


@pytest.mark.parametrize(
    ("published", "is_later"), [(None, False), (PAST, False), (datetime(2099, 1, 1, tzinfo=UTC), True)]
)
def test_a_republish_never_turns_back_the_last_use(store: Store, published: datetime | None, is_later: bool) -> None:
    store.admit()
    used = store.record()["last_used_at"]

    store.publish(replace(TOKEN, version=2, last_used_at=published))

    assert store.record()["last_used_at"] == (str(redis_schema.to_ms(published)) if is_later else used)


def test_publishing_after_a_loss_restores_the_count(empty: Store) -> None:
    empty.client.set(redis_schema.EPOCH, "2")

    answers = empty.publish(PROJECT, replace(TOKEN, max_requests=10, request_count=9))

    assert answers == [1, 1]
    assert [bool(empty.admit()) for _ in range(2)] == [True, False]


def test_publishing_the_same_again_changes_nothing(store: Store) -> None:
    store.admit()
    before = store.record()

    assert store.publish(PROJECT, TOKEN) == [1, 1]

    assert store.record() == before


@pytest.mark.parametrize(
    ("change", "is_admitted"),
    [
        ({"max_requests": 1}, False),
        ({"max_requests": 2}, True),
        ({"is_active": False}, False),
        ({"expires_at": PAST}, False),
    ],
)
def test_a_newer_version_takes_effect_at_once(store: Store, change: dict[str, object], is_admitted: bool) -> None:
    store.admit()

    store.publish(replace(TOKEN, version=2, **change))

    assert bool(store.admit()) is is_admitted


# Notices

INACTIVE_TOKEN, INACTIVE_PROJECT = replace(TOKEN, is_active=False), replace(PROJECT, is_active=False)
BOTH = pytest.mark.parametrize(
    ("active", "inactive", "notice"),
    [
        pytest.param(TOKEN, INACTIVE_TOKEN, Revoked("token", "t1"), id="token"),
        pytest.param(PROJECT, INACTIVE_PROJECT, Revoked("project", "p1"), id="project"),
    ],
)


@pytest.fixture
def notices(redis_client: redis.Redis) -> Iterator[Callable[[], list[ControlMessage]]]:
    """What came over the control channel since the last look."""
    with redis_client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(redis_schema.CONTROL_CHANNEL)
        channel.get_message(timeout=5)

        def heard() -> list[ControlMessage]:
            # Messages come in the order of their publication, so all that came before this mark has been received.
            redis_client.publish(redis_schema.CONTROL_CHANNEL, "mark")
            received = iter(lambda: channel.get_message(timeout=5)["data"], b"mark")
            return [redis_schema.decode_control(payload) for payload in received]

        yield heard


@BOTH
def test_workers_are_told_when_something_may_not_be_used_any_longer(
    store: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked,
) -> None:  # fmt: skip
    store.publish(replace(active, version=2))
    assert notices() == []

    store.publish(replace(inactive, version=3))
    assert notices() == [notice]


@BOTH
def test_workers_are_told_once_however_often_the_same_is_published(
    store: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked,
) -> None:  # fmt: skip
    answers = store.publish(*[replace(inactive, version=2)] * 3)

    assert answers == [1, 1, 1]
    assert notices() == [notice]


@BOTH
def test_workers_are_told_again_of_each_later_version_that_is_still_inactive(
    store: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked,
) -> None:  # fmt: skip
    store.publish(replace(inactive, version=2), replace(inactive, version=10))

    assert notices() == [notice, notice]


@BOTH
def test_workers_are_told_of_what_redis_had_lost(
    empty: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked,
) -> None:  # fmt: skip
    empty.publish(inactive)

    assert notices() == [notice]


@BOTH
@pytest.mark.parametrize("version", [1, 9])
def test_workers_are_told_nothing_of_an_older_version_that_is_refused(
    store: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked, version: int,
) -> None:  # fmt: skip
    store.publish(replace(active, version=10))

    assert store.publish(replace(inactive, version=version)) == [0]
    assert notices() == []


@BOTH
def test_workers_are_told_nothing_of_what_is_usable_again(
    store: Store, notices: Callable[[], list[ControlMessage]],
    active: Token | Project, inactive: Token | Project, notice: Revoked,
) -> None:  # fmt: skip
    store.publish(replace(inactive, version=2), replace(active, version=3))

    assert notices() == [notice]


@BOTH
def test_the_record_is_written_before_workers_hear_of_it(
    store: Store, active: Token | Project, inactive: Token | Project, notice: Revoked
) -> None:
    name = "publish_token" if isinstance(active, Token) else "publish_project"
    source = redis_schema.script(name)

    assert source.index("'HSET'") < source.index("'PUBLISH'")
