"""Rules of periodic jobs: only the leader runs them, when they are due, and each run is written down."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from manager import db, job_runs, leases
from manager.exclusive import Exclusive, Periodic, RunsElsewhere, run_now
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
    world.error, world.now = None, world.now + MINUTE
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


# Failing, wrong clocks, and running twice


def test_what_fails_is_tried_again_after_pauses_that_grow_up_to_a_quarter_of_its_interval(world: World) -> None:
    world.error = OSError("disk full")

    for _ in range(5 * 60):
        with suppress(OSError):
            world.exclusive().run_if_due()  # Each time as after a restart: SQL remembers.
        world.now += MINUTE

    assert [round(each / MINUTE) for each in world.ran[:8]] == [0, 1, 2, 3, 5, 9, 17, 32]
    assert {(later - before) / MINUTE for before, later in pairwise(world.ran[8:])} == {15.0}


def test_a_success_makes_the_next_failure_the_first_one_again(world: World) -> None:
    exclusive = world.exclusive()
    for error in (OSError("away"), OSError("away"), None, OSError("away")):
        world.error, world.now = error, world.now + HOUR
        with suppress(OSError):
            exclusive.run_if_due()

    assert (len(world.ran), world.last().attempts) == (4, 1)


def test_a_job_that_looks_often_whether_there_is_work_waits_in_proportion_to_the_work(world: World) -> None:
    job = world.job(work_every=64 * HOUR)

    assert [job.pause(failures) for failures in (0, 1, 2, 50)] == [0 * HOUR, HOUR / 4, HOUR / 2, 16 * HOUR]


def test_a_job_that_its_process_died_over_again_and_again_waits_as_well(world: World, sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        for _ in range(8):
            job_runs.begin(session, "sweep", NOW)

    ran = []
    for minutes in (1, 14, 15):
        world.now = NOW + minutes * MINUTE
        ran.append(world.exclusive().run_if_due())

    assert ran == [False, False, True]


@pytest.mark.parametrize("outcome", ["success", "failure", "running"])
def test_a_run_that_a_wrong_clock_dated_years_ahead_puts_nothing_off(
    world: World, sessions: db.Sessions, outcome: str
) -> None:
    ahead = NOW + timedelta(days=3650)
    with sessions.begin() as session:
        job_runs.begin(session, "sweep", ahead)
        if outcome != "running":
            job_runs.end(session, "sweep", ahead, {} if outcome == "success" else None)

    assert world.exclusive().run_if_due()


def test_a_process_that_began_by_a_wrong_clock_goes_by_the_right_one_afterwards(world: World) -> None:
    world.now = NOW + timedelta(days=3650)
    exclusive = world.exclusive(waits_first=True)
    exclusive.run_if_due()

    ran = []
    for hours in (0, 1):
        world.now = NOW + hours * HOUR
        ran.append(exclusive.run_if_due())

    assert ran == [False, True]


def test_a_job_that_runs_elsewhere_is_not_run_beside_it(world: World) -> None:
    job = world.job()

    with leases.held(world.sessions, "job:sweep", lambda: world.now):
        beside = world.exclusive().run_if_due()
        with pytest.raises(RunsElsewhere, match="sweep is running just now, in "):
            run_now(job, world.sessions, lambda: world.now)

    assert (beside, world.ran) == (False, [])
    assert world.exclusive().run_if_due()
