"""Rules of periodic jobs: only the leader runs them, when they are due, and each run is written down."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from manager import db, job_runs
from manager.exclusive import Exclusive, Periodic, run_now
from manager.leases import Leadership
from manager.tables import AuditEvent, JobRun
from tests.manager.conftest import NOW, Rows

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class World:
    """A job that notes when it ran, and the time of day."""

    def __init__(self, sessions: db.Sessions) -> None:
        self.sessions = sessions
        self.now = NOW
        self.ran: list[timedelta] = []
        self.error: Exception | None = None
        self.report: Mapping[str, Any] = {"count": 1}
        self.leadership = Leadership(sessions, "jobs")
        self.leadership.renew()

    def run(self, now: datetime) -> Mapping[str, Any]:
        self.ran.append(now - NOW)
        if self.error:
            raise self.error
        return self.report

    def job(self, **more: Any) -> Periodic:
        return Periodic("sweep", self.run, HOUR, **more)

    def exclusive(self, **more: Any) -> Exclusive:
        return Exclusive(self.job(**more), self.sessions, self.leadership, lambda: self.now)

    def last(self) -> JobRun:
        with db.reading(self.sessions) as session:
            found = job_runs.latest(session, "sweep")
        assert found is not None
        return found


@pytest.fixture
def world(sessions: db.Sessions) -> World:
    return World(sessions)


def test_a_job_runs_at_once_and_then_whenever_its_time_has_come(world: World) -> None:
    exclusive, ran = world.exclusive(), []

    for minutes in (0, 1, 59, 60, 61, 120):
        world.now = NOW + minutes * MINUTE
        ran.append(exclusive.run_if_due())

    assert ran == [True, False, False, True, False, True]
    assert world.ran == [timedelta(0), HOUR, 2 * HOUR]


def test_a_job_that_waits_first_does_so_only_before_the_first_run_of_all(world: World) -> None:
    exclusive = world.exclusive(waits_first=True)

    first = exclusive.run_if_due()
    world.now = NOW + HOUR
    second = exclusive.run_if_due()
    world.now = NOW + 3 * HOUR

    assert [first, second, world.exclusive(waits_first=True).run_if_due()] == [False, True, True]


def test_another_process_goes_on_where_the_last_one_was(world: World) -> None:
    world.exclusive().run_if_due()
    world.now += 59 * MINUTE

    early = world.exclusive().run_if_due()
    world.now += MINUTE

    assert [early, world.exclusive().run_if_due()] == [False, True]


def test_what_a_process_died_over_is_run_again_at_once(world: World, sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        job_runs.begin(session, "sweep", NOW)

    assert world.exclusive().run_if_due()


def test_only_the_leader_runs_it(world: World) -> None:
    world.leadership.end()

    assert not world.exclusive().run_if_due()
    assert world.ran == []


def test_a_run_is_written_down_with_its_report(world: World) -> None:
    world.exclusive().run_if_due()

    last = world.last()
    assert (last.outcome, last.started_at, last.ended_at, last.reason) == ("success", NOW, NOW, "")
    assert last.report["count"] == 1 and last.report["seconds"] >= 0


def test_a_failure_is_written_down_and_the_report_of_the_last_success_stays(world: World) -> None:
    exclusive = world.exclusive()
    exclusive.run_if_due()
    world.error, world.now = OSError("disk full"), NOW + HOUR

    with pytest.raises(OSError, match="disk full"):
        exclusive.run_if_due()

    last = world.last()
    assert (last.outcome, last.reason, last.report["count"]) == ("failure", "OSError: disk full", 1)
    world.error = None
    assert exclusive.run_if_due()


def test_runs_that_changed_something_are_in_the_audit(world: World, rows: Rows) -> None:
    for count in (0, 2):
        world.report = {"count": count}
        run_now(world.job(changes=lambda report: report["count"] > 0), world.sessions)

    [event] = rows.all(AuditEvent)
    assert (event.action, event.actor, event.outcome) == ("job.run", "jobs", "success")
    assert (event.detail["job"], event.detail["report"]["count"]) == ("sweep", 2)


def test_of_failures_in_a_row_the_first_one_is_in_the_audit(world: World, rows: Rows) -> None:
    world.error = OSError("disk full")
    for _ in range(3):
        with pytest.raises(OSError):
            run_now(world.job(), world.sessions)

    [event] = rows.all(AuditEvent)
    assert (event.outcome, event.detail) == ("failure", {"job": "sweep", "reason": "OSError"})
