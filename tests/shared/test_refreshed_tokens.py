"""A token whose secret is replaced, on a real Valkey: both share everything, the old one ends, and stays ended."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import holds_schema, redis_schema
from shared.holds_schema import NotExtended, OpenRequest
from shared.models import Amounts, Caller, Denial, Limit, Measure, Project, Token, UpstreamKey, Window
from shared.redis_schema import Denied

PROJECT = Project("p1", "openai", True, "", (UpstreamKey("k1", "v1.k1.sealed"),), 1)
FIRST = Token("t1", "d1", "p1", "demo", True, datetime(2100, 1, 1, tzinfo=UTC), None, 0, None, 1)
LATER, BEFORE = datetime(2099, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
SCRIPTS = ("admit", "extend", "publish_token", "publish_project", "purge_token", "purge_project")


def refreshed(token: Token, digest: str, until: datetime = LATER) -> Token:
    """The next version of a token, with another secret."""
    return replace(token, digest=digest, previous_digest=token.digest, previous_until=until, version=token.version + 1)


class Redis:
    """Publishes and admits as the planes do."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.scripts = {name: client.register_script(redis_schema.script(name)) for name in SCRIPTS}
        client.set(redis_schema.EPOCH, "e1")
        self.scripts["publish_project"](*redis_schema.encode_project(PROJECT))

    def publish(self, *tokens: Token) -> list[int]:
        return [self.scripts["publish_token"](*redis_schema.encode_token(token)) for token in tokens]

    def purge(self, token: Token) -> int:
        """Purge a token whose last secret is that of this version."""
        keys, arguments = redis_schema.encode_purged_token(token.id, token.digest, token.version + 1, LATER)
        return int(self.scripts["purge_token"](keys, arguments))

    def admit(self, digest: str, tokens: int = 0) -> Caller | Denied:
        request = holds_schema.encode_request(OpenRequest("r1", BEFORE, "openai", "chat", "POST"))
        keys, arguments = redis_schema.encode_admission(
            digest, ["openai"], Amounts(tokens, 0), request, request_id="r1"
        )
        return redis_schema.decode_admission(self.scripts["admit"](keys, arguments))

    def verdict(self, digest: str) -> int | Denial:
        """The number of the request on its token, or why there is none."""
        answer = self.admit(digest)
        return answer.sequence if isinstance(answer, Caller) else answer.reason

    def names(self) -> set[str]:
        """The keys that tell of tokens."""
        found = {name.decode().removeprefix(redis_schema.PREFIX) for name in self.client.keys("*")}
        return {name for name in found if name.startswith(("token:", "identity:", "used:token:"))}


@pytest.fixture
def store(redis_client: redis.Redis) -> Redis:
    return Redis(redis_client)


def test_both_secrets_count_on_one_token_within_the_grace(store: Redis) -> None:
    first = replace(FIRST, max_requests=4)
    store.publish(first)
    before = store.verdict("d1")

    store.publish(refreshed(first, "d2"))

    assert [before, *(store.verdict(digest) for digest in ("d2", "d1", "d2", "d1", "d2"))] == [
        *(1, 2, 3, 4),
        *(Denial.QUOTA_EXCEEDED, Denial.QUOTA_EXCEEDED),
    ]


def test_other_limits_are_shared_as_well(store: Redis) -> None:
    limited = replace(FIRST, limits=(Limit(Measure.TOKENS, Window.LIFE, 100),))
    store.publish(limited, refreshed(limited, "d2"))

    answers = [bool(store.admit(digest, 40)) for digest in ("d1", "d2", "d1", "d2")]

    assert answers == [True, True, False, False]


def test_a_running_request_of_the_old_secret_stays_bound_by_the_limits(store: Redis) -> None:
    limited = replace(FIRST, limits=(Limit(Measure.TOKENS, Window.LIFE, 100),))
    store.publish(limited)
    caller = store.admit("d1", 40)
    assert isinstance(caller, Caller) and caller.hold

    store.publish(refreshed(limited, "d2", until=BEFORE))

    refused, extended = (
        holds_schema.decode_extension(
            store.scripts["extend"](*holds_schema.encode_extension(caller.hold, Amounts(tokens, 0)))
        )
        for tokens in (101, 100)
    )
    assert isinstance(refused, NotExtended) and refused.limit is not None
    assert isinstance(extended, bytes)


def test_the_old_secret_ends_with_its_grace(store: Redis) -> None:
    store.publish(FIRST, refreshed(FIRST, "d2", until=datetime.now(UTC) + timedelta(milliseconds=80)))
    within = store.verdict("d1")

    deadline = time.monotonic() + 5
    while store.client.exists(redis_schema.token_key("d1")):
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert (within, store.verdict("d1"), store.verdict("d2")) == (1, Denial.TOKEN_NOT_FOUND, 2)


def test_without_a_grace_the_old_secret_ends_at_once(store: Redis) -> None:
    store.publish(FIRST)
    store.verdict("d1")

    store.publish(refreshed(FIRST, "d2", until=BEFORE))

    assert [store.verdict("d1"), store.verdict("d2")] == [Denial.TOKEN_NOT_FOUND, 2]
    assert store.names() == {"token:d2", "identity:t1"}


def test_a_second_refresh_ends_the_first_secret_and_gives_the_second_a_grace(store: Redis) -> None:
    second = refreshed(FIRST, "d2")
    store.publish(FIRST, second, refreshed(second, "d3"))

    assert [store.verdict(digest) for digest in ("d1", "d2", "d3")] == [Denial.TOKEN_NOT_FOUND, 1, 2]


def test_a_secret_whose_successor_was_never_published_ends_all_the_same(store: Redis) -> None:
    store.publish(FIRST)
    store.verdict("d1")

    store.publish(refreshed(refreshed(FIRST, "d2"), "d3"))

    assert [store.verdict(digest) for digest in ("d1", "d2", "d3")] == [Denial.TOKEN_NOT_FOUND, 2, 3]


def test_revoking_ends_both_secrets(store: Redis) -> None:
    second = refreshed(FIRST, "d2")
    store.publish(FIRST, second, replace(second, is_active=False, version=3))

    assert [store.verdict("d1"), store.verdict("d2")] == [Denial.TOKEN_INACTIVE] * 2


def test_a_late_version_brings_no_old_secret_back(store: Redis) -> None:
    second = refreshed(FIRST, "d2", until=BEFORE)

    answers = store.publish(second, FIRST)

    assert answers == [1, 0]
    assert store.verdict("d1") == Denial.TOKEN_NOT_FOUND


def test_the_old_secret_is_known_again_after_a_loss_and_what_was_used_too(store: Redis) -> None:
    store.publish(replace(refreshed(FIRST, "d2"), request_count=7))

    assert [store.verdict("d1"), store.verdict("d2")] == [8, 9]


def test_everything_of_a_token_is_forgotten_together(store: Redis) -> None:
    limited = replace(FIRST, limits=(Limit(Measure.TOKENS, Window.LIFE, 100),))
    store.publish(limited, refreshed(limited, "d2"))
    store.admit("d2", 5)

    ends = {name: store.client.pexpiretime(redis_schema.PREFIX + name) for name in store.names()}

    forgotten = redis_schema.to_ms(FIRST.expires_at + redis_schema.REMEMBER_EXPIRED)
    assert ends.pop("token:d1") == redis_schema.to_ms(LATER)
    assert ends == dict.fromkeys(("token:d2", "identity:t1", "used:token:t1"), forgotten)


# Purged tokens


def test_a_purged_token_is_unknown_with_all_its_secrets(store: Redis) -> None:
    second = refreshed(FIRST, "d2")
    store.publish(FIRST, second)

    assert store.purge(second) == 1

    assert [store.verdict("d1"), store.verdict("d2")] == [Denial.TOKEN_NOT_FOUND] * 2
    assert store.names() == {"identity:t1"}
    assert store.client.pexpiretime(redis_schema.identity_key("t1")) == redis_schema.to_ms(LATER)


def test_no_late_publish_brings_a_purged_token_back(store: Redis) -> None:
    second = refreshed(FIRST, "d2")
    store.publish(FIRST)
    store.purge(second)

    assert store.publish(FIRST, second, replace(second, version=3)) == [0, 0, 0]
    assert [store.verdict("d1"), store.verdict("d2")] == [Denial.TOKEN_NOT_FOUND] * 2


def test_a_purged_token_that_was_restored_since_works_again(store: Redis) -> None:
    restored = replace(FIRST, version=900)
    store.publish(FIRST)
    store.purge(FIRST)

    assert store.publish(restored, FIRST) == [1, 0]

    assert store.verdict("d1") == 1 and b"purged" not in store.client.hgetall(redis_schema.identity_key("t1"))
    assert store.purge(restored) == 1 and store.publish(restored) == [0]


def test_a_purge_that_comes_late_holds_against_all_that_redis_knew(store: Redis) -> None:
    store.publish(FIRST, replace(FIRST, version=9))

    assert store.purge(FIRST) == 1

    assert store.publish(replace(FIRST, version=9)) == [0] and store.verdict("d1") == Denial.TOKEN_NOT_FOUND


def test_a_token_that_redis_never_heard_of_can_be_purged(store: Redis) -> None:
    assert [store.purge(FIRST), store.purge(FIRST)] == [0, 0]
    assert store.publish(FIRST) == [0]


def test_a_purged_project_is_unusable_and_stays_so(store: Redis) -> None:
    store.publish(FIRST)
    purge = redis_schema.encode_purged_project("p1", 2, LATER)

    answers = [store.scripts["purge_project"](*purge) for _ in range(2)]

    assert answers == [1, 0]
    assert store.scripts["publish_project"](*redis_schema.encode_project(replace(PROJECT, version=2))) == 0
    assert store.verdict("d1") == Denial.PROJECT_INACTIVE
    assert store.client.pexpiretime(redis_schema.project_key("p1")) == redis_schema.to_ms(LATER)


def test_a_purged_project_that_was_restored_since_is_there_for_good(store: Redis) -> None:
    store.publish(FIRST)
    store.scripts["purge_project"](*redis_schema.encode_purged_project("p1", 2, LATER))

    restored = [
        store.scripts["publish_project"](*redis_schema.encode_project(replace(PROJECT, version=v))) for v in (900, 1)
    ]

    assert restored == [1, 0] and store.verdict("d1") == 1
    assert store.client.pexpiretime(redis_schema.project_key("p1")) == -1
    assert b"purged" not in store.client.hgetall(redis_schema.project_key("p1"))


def test_a_purge_of_a_project_that_comes_late_holds_against_all_that_redis_knew(store: Redis) -> None:
    newest = redis_schema.encode_project(replace(PROJECT, version=9))
    store.scripts["publish_project"](*newest)
    store.scripts["purge_project"](*redis_schema.encode_purged_project("p1", 2, LATER))

    assert store.scripts["publish_project"](*newest) == 0


# In any order


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Token], list[int]]:
    """All versions of a token, and the order in which they happen to be published, some of them again and again."""
    versions = [FIRST]
    for change in draw(st.lists(st.sampled_from(["refresh", "refresh at once", "label", "revoke"]), max_size=6)):
        last = versions[-1]
        if change == "revoke":
            versions.append(replace(last, is_active=False, version=last.version + 1))
        elif change == "label" or not last.is_active:
            versions.append(replace(last, label="changed", version=last.version + 1))
        else:
            until = LATER if change == "refresh" else BEFORE
            versions.append(refreshed(last, f"d{last.version + 1}", until))
    order = draw(st.lists(st.integers(0, len(versions) - 1), min_size=1, max_size=12))
    return versions, order


def expected(newest: Token, digest: str, count: int) -> int | Denial:
    """What a request with a secret gets when this is the newest version that was ever published."""
    works = {newest.digest} | ({newest.previous_digest} if newest.previous_until == LATER else set())
    if digest not in works:
        return Denial.TOKEN_NOT_FOUND
    return count + 1 if newest.is_active else Denial.TOKEN_INACTIVE


def check(store: Redis, versions: Sequence[Token], order: Sequence[int]) -> None:
    newest, count = -1, 0
    for published in order:
        is_written = published >= newest
        assert store.publish(versions[published]) == [int(is_written)]
        newest = max(newest, published)
        for digest in sorted({version.digest for version in versions}):
            verdict = expected(versions[newest], digest, count)
            assert store.verdict(digest) == verdict
            count += isinstance(verdict, int)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_whatever_order_versions_come_in_the_newest_one_holds(
    redis_client: redis.Redis, history: tuple[list[Token], list[int]]
) -> None:
    redis_client.flushall()

    check(Redis(redis_client), *history)
