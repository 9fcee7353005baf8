"""Rules of the job that asks about keys: which ones, what is made of the answers, and that it goes on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis

from manager import db
from manager.key_health import BELIEVED, KeyHealth
from manager.key_probe import ProbeResult
from manager.tables import Project, UpstreamKey
from manager.upstream_health import OK, UpstreamHealth
from shared import redis_schema
from shared.redis_schema import BreakerChange
from tests.manager.conftest import NOW, Rows


class Provider:
    """Answers for keys, by what is sealed in them, and remembers which it was asked about."""

    def __init__(self) -> None:
        self.answers: dict[str, ProbeResult | Exception] = {}
        self.asked: list[str] = []

    def __call__(self, _: Project, key: UpstreamKey) -> ProbeResult:
        self.asked.append(key.sealed)
        answer = self.answers.get(key.sealed, ProbeResult("ok"))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def job(redis_client: redis.Redis, sessions: db.Sessions, provider: Provider) -> Callable[..., dict[str, object]]:
    health = KeyHealth(redis_client, sessions, provider)
    return lambda now=NOW: health.probe(now)


def set_aside(client: redis.Redis, key: UpstreamKey, reason: str = "status_401") -> str:
    subject = redis_schema.key_subject(str(key.id))
    change = BreakerChange(subject, True, reason, redis_schema.to_ms(datetime(2100, 1, 1, tzinfo=UTC)), 1)
    client.hset(redis_schema.BREAKERS, subject, redis_schema.encode_control(change))
    return subject


def test_active_keys_of_active_projects_are_asked_about_once_a_day(
    job: Callable[..., dict[str, object]], provider: Provider, rows: Rows
) -> None:
    first = rows.project("one", "two")
    rows.project("three", name="off", is_active=False)
    rows.change(first.keys[1], is_active=False)

    counts = [job(NOW + after)["asked"] for after in (timedelta(0), timedelta(minutes=15), BELIEVED)]

    assert counts == [1, 0, 1]
    assert provider.asked == ["one", "one"]


def test_a_key_that_works_again_is_used_again(
    job: Callable[..., dict[str, object]], redis_client: redis.Redis, provider: Provider, rows: Rows
) -> None:
    project = rows.project("good", "bad")
    provider.answers["bad"] = ProbeResult("refused", "status_401", 401)
    job()
    subjects = [set_aside(redis_client, key) for key in project.keys]

    report = job(NOW + timedelta(minutes=15))

    health = UpstreamHealth(redis_client).of(subjects)
    assert report["asked"] == 2 and report["states"] == {"ok": 1, "refused": 1}
    assert report["refused"] == [str(project.keys[1].id)]
    assert health[subjects[0]] == OK and health[subjects[1]] != OK


def test_a_key_that_was_replaced_is_asked_about_anew(
    job: Callable[..., dict[str, object]], provider: Provider, rows: Rows
) -> None:
    project = rows.project("old")
    job()
    rows.change(project.keys[0], sealed="new")

    job()

    assert provider.asked == ["old", "new"]


def test_providers_that_were_away_are_asked_again_the_next_time(
    job: Callable[..., dict[str, object]], provider: Provider, rows: Rows
) -> None:
    rows.project("one")
    provider.answers["one"] = ProbeResult("unreachable", "dns")

    assert [job()["states"], job()["states"]] == [{"unreachable": 1}] * 2


def test_a_key_that_cannot_be_opened_keeps_nobody_from_asking_about_others(
    job: Callable[..., dict[str, object]], provider: Provider, rows: Rows
) -> None:
    rows.project("damaged", "fine")
    provider.answers["damaged"] = ValueError("no key of ours opens it")

    assert job()["states"] == {"ok": 1, "unclear": 1}


@pytest.mark.parametrize(
    ("reason", "is_forgiven"), [("status_401", True), ("status_402", True), ("status_403", True), ("status_429", False)]
)
def test_only_what_was_refused_is_forgiven_and_no_time_that_a_provider_asked_to_wait(
    job: Callable[..., dict[str, object]], redis_client: redis.Redis, rows: Rows, reason: str, is_forgiven: bool
) -> None:
    subject = set_aside(redis_client, rows.project("good").keys[0], reason)

    assert job()["states"] == {"ok": 1}
    assert (UpstreamHealth(redis_client).of([subject])[subject] == OK) is is_forgiven


def test_where_there_are_more_keys_than_one_run_asks_about_all_get_their_turn(
    redis_client: redis.Redis, sessions: db.Sessions, provider: Provider, rows: Rows
) -> None:
    away = [f"away {number}" for number in range(3)]
    provider.answers |= dict.fromkeys(away, ProbeResult("unreachable", "dns"))
    for number, sealed in enumerate([*away, "one", "two", "three"]):
        rows.project(sealed, name=f"p{number}")
    health = KeyHealth(redis_client, sessions, provider, most_asked=2)

    for number in range(5):
        health.probe(NOW + number * timedelta(minutes=15))

    assert set(provider.asked[:6]) == {*away, "one", "two", "three"}
    assert provider.asked[6:] == ["away 0", "away 1", "away 2", "away 0"]


def test_what_was_found_out_of_keys_that_are_gone_is_forgotten(
    job: Callable[..., dict[str, object]], redis_client: redis.Redis, sessions: db.Sessions, rows: Rows
) -> None:
    project = rows.project("stays", "goes")
    job()
    with sessions.begin() as session:
        session.delete(session.get_one(UpstreamKey, project.keys[1].id))

    job()

    assert redis_client.hkeys(redis_schema.KEY_PROBES) == [str(project.keys[0].id).encode()]


def test_what_a_wrong_clock_dated_years_ahead_is_not_believed(
    job: Callable[..., dict[str, object]], rows: Rows
) -> None:
    rows.project("one")
    job(NOW + timedelta(days=3650))

    assert [job()["asked"], job()["asked"]] == [1, 0]
