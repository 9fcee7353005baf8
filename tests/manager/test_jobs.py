"""Rules of the jobs: each runs alone and again and again, failures are told once, and all end when told to."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from structlog.testing import capture_logs

from manager import db, jobs, rollup
from manager.jobs import FIRST_PAUSE, LONGEST_PAUSE, Job, heal, repeat
from manager.publisher import Publisher, PublishError
from manager.tables import Request
from shared import redis_schema
from tests.manager.conftest import EVENT, PROJECT_ID, Rows, SettingsOf


class Rounds(threading.Event):
    """Told to stop after some rounds; remembers the pauses and takes none."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return len(self.pauses) > self._rounds


def going(*results: BaseException | None) -> Callable[[], None]:
    """A job that fails or works, in this order."""
    rest = list(results)

    def run() -> None:
        if (result := rest.pop(0)) is not None:
            raise result

    return run


def repeated(*results: BaseException | None, pause: float = 7.0) -> tuple[list[float | None], list[Any]]:
    """The pauses between the rounds of a job, and what was logged."""
    stop = Rounds(len(results))
    with capture_logs() as logged:
        repeat(Job("sweep", going(*results), pause), stop)
    return stop.pauses, logged


AWAY = redis.ConnectionError("away")


# Repeating


def test_a_job_that_works_is_done_again_after_its_pause_and_says_nothing() -> None:
    pauses, logged = repeated(None, None, None)

    assert pauses == [0.0, 7.0, 7.0, 7.0]
    assert logged == []


def test_a_job_that_was_told_to_stop_does_not_run() -> None:
    stop = threading.Event()
    stop.set()

    repeat(Job("sweep", going(), 0.0), stop)


def test_pauses_of_a_failing_job_grow_to_a_limit() -> None:
    pauses, _ = repeated(*[AWAY] * 8)

    assert pauses[:4] == [0.0, FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_job_that_works_again_has_its_own_pause_again_and_the_next_failure_a_short_one() -> None:
    pauses, _ = repeated(AWAY, AWAY, None, AWAY)

    assert pauses == [0.0, FIRST_PAUSE, 2 * FIRST_PAUSE, 7.0, FIRST_PAUSE]


def test_a_failing_job_is_told_once_and_again_when_it_works() -> None:
    _, logged = repeated(AWAY, AWAY, AWAY, None, None, AWAY)

    assert [entry["event"] for entry in logged] == ["job_fails", "job_works_again", "job_fails"]
    assert {entry["job"] for entry in logged} == {"sweep"}
    assert "away" in logged[0]["reason"]


@pytest.mark.parametrize(
    ("error", "with_traceback"),
    [
        (AWAY, False),
        (sa.exc.OperationalError("SELECT 1", None, Exception()), False),
        (PublishError("away"), False),
        (OSError("disk full"), False),
        (KeyError("a fault of our own"), True),
    ],
    ids=["Redis", "SQL", "publishing", "system", "fault"],
)
def test_only_faults_of_our_own_are_told_with_their_traceback(error: Exception, with_traceback: bool) -> None:
    _, [told] = repeated(error)

    assert told["exc_info"] is with_traceback
    assert told["reason"].startswith(f"{type(error).__name__}: ")


# Healing


@pytest.fixture
def publisher(redis_client: redis.Redis, sessions: db.Sessions) -> Publisher:
    return Publisher(redis_client, sessions)


def healed(publisher: Publisher) -> list[tuple[str, int | None]]:
    with capture_logs() as logged:
        heal(publisher)
    return [(entry["event"], entry.get("count")) for entry in logged]


def test_a_lost_redis_is_healed_whole(publisher: Publisher, rows: Rows) -> None:
    rows.token(rows.project())

    assert healed(publisher) == [("redis_republished", None)]
    assert publisher.is_ready()


def test_what_a_crash_left_is_healed_alone(publisher: Publisher, rows: Rows) -> None:
    token = rows.token(rows.project())
    heal(publisher)
    rows.change(token, version=2)

    assert healed(publisher) == [("pending_changes_published", 1)]
    assert rows.fresh(token).published_version == 2


def test_where_nothing_is_wrong_nothing_is_told(publisher: Publisher) -> None:
    heal(publisher)

    assert healed(publisher) == []


# The process


@pytest.fixture
def handlers() -> Iterator[None]:
    """Puts the signal handlers of this process back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send_when(condition: Callable[[], bool], number: signal.Signals) -> threading.Thread:
    """Signal this process as soon as something is so, or after ten seconds."""

    def watch() -> None:
        deadline = time.monotonic() + 10
        try:
            while not condition() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_collects_heals_and_forgets_until_it_is_told_to_end(
    redis_client: redis.Redis,
    valkey_url: str,
    database_url: str,
    rows: Rows,
    settings_of: SettingsOf,
    number: signal.Signals,
) -> None:
    settings = settings_of(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_REQUEST_RETENTION="P1D")
    now = datetime.now(UTC)
    rows.project(id=PROJECT_ID)
    old = replace(EVENT, request_id="old", occurred_at=now - timedelta(days=2))
    rows.add(Request(**rollup.request_row(old)))
    redis_client.xadd(redis_schema.USAGE_STREAM, redis_schema.encode_event(replace(EVENT, occurred_at=now)))

    def is_done() -> bool:
        return bool(redis_client.exists(redis_schema.EPOCH)) and [r.request_id for r in rows.all(Request)] == ["r1"]

    watcher = send_when(is_done, number)
    jobs.run(settings)

    watcher.join()
    assert is_done()
    assert not {thread.name for thread in threading.enumerate()} & {"collect", "heal", "forget", "seed_prices"}
