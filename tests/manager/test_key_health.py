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


def set_aside(client: redis.Redis, key: UpstreamKey) -> str:
    subject = redis_schema.key_subject(str(key.id))
    change = BreakerChange(subject, True, "status_401", redis_schema.to_ms(datetime(2100, 1, 1, tzinfo=UTC)), 1)
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
