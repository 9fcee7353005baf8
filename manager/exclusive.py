"""Jobs that only one of several processes runs: when they are due, by what SQL says of their last run.

So a process that takes over goes on where the other one was, and a restart runs nothing twice. Each run is recorded
with its report; one that changed something, or failed, is in the audit.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import audit, db, job_runs, leases
from manager.db import Sessions
from manager.leases import Leadership, LeaseTaken
from shared import logs

_SOURCE = audit.Source(audit.JOBS)

log = logs.get("jobs")

type Report = Mapping[str, Any]


@dataclass(frozen=True)
class Periodic:
    """A job that reports. `every` is from the end of a run to the next; `waits_first`: also before the first of all.

    `changes` tells by the report whether anything was changed, and so belongs into the audit. `work_every` is how often
    there is something to be done, if the job itself finds out, and so asks more often.
    """

    name: str
    run: Callable[[datetime], Report]
    every: timedelta
    waits_first: bool = False
    changes: Callable[[Report], bool] = lambda _: False
    work_every: timedelta | None = None

    def pause(self, failures: int) -> timedelta:
        """Return how long to wait after so many failures in a row: twice as long each time, up to a quarter."""
        usual = self.work_every or self.every
        return usual / 256 * 2 ** min(failures - 1, 6) if failures > 0 else timedelta(0)


class RunsElsewhere(Exception):
    """The job is running just now, in another process; the message says in which."""


class Exclusive:
    """Runs a periodic job when this process leads and the job is due. Raises whatever the job raises."""

    def __init__(
        self,
        job: Periodic,
        sessions: Sessions,
        leadership: Leadership,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._job = job
        self._sessions = sessions
        self._leadership = leadership
        self._clock = clock
        self._began = self._not_before = clock()
        self._longest_wait = max(job.every, job.work_every or job.every)

    def run_if_due(self) -> bool:
        """Run the job if it is ours and due, and runs nowhere else; tell whether it ran."""
        now = self._clock()
        if not self._leadership.is_held() or now < self._not_before <= now + self._longest_wait:
            return False
        # Others who lead meanwhile only put it off, so what was once found out holds.
        self._not_before = self._due(now)
        if now < self._not_before:
            return False
        try:
            run_now(self._job, self._sessions, self._clock)
        except RunsElsewhere:
            return False
        return True

    def _due(self, now: datetime) -> datetime:
        """Return when the job is due. What is later than now was said by a wrong clock, and counts for nothing."""
        self._began = min(self._began, now)
        with db.reading(self._sessions) as session:
            last = job_runs.latest(session, self._job.name)
        if last is None:
            return self._began + self._job.every if self._job.waits_first else self._began
        if last.outcome == job_runs.RUNNING or last.ended_at is None:
            # Whoever ran it has died over it; at the first time that may be a restart.
            since, pause = last.started_at, self._job.pause(last.attempts - 1)
        else:
            has_failed = last.outcome == job_runs.FAILURE
            since, pause = last.ended_at, self._job.pause(last.attempts) if has_failed else self._job.every
        return since + pause if since <= now else now


def run_now(job: Periodic, sessions: Sessions, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Report:
    """Run a job and record it; returns its report. Raises RunsElsewhere, and whatever the job raises."""
    try:
        with leases.held(sessions, f"job:{job.name}", clock):
            return _run(job, sessions, clock)
    except LeaseTaken as taken:
        raise RunsElsewhere(f"{job.name} is running just now, in {taken}") from None


def _run(job: Periodic, sessions: Sessions, clock: Callable[[], datetime]) -> Report:
    began, started = clock(), time.monotonic()
    db.transact(sessions, lambda session: job_runs.begin(session, job.name, began), is_repeatable=True)
    try:
        report = dict(job.run(began))
    except Exception as error:
        kind, reason = type(error).__name__, f"{type(error).__name__}: {error}"
        with suppress(SQLAlchemyError):
            db.transact(sessions, lambda session: _failed(session, job, clock(), kind, reason))
        raise
    report["seconds"] = round(time.monotonic() - started, 3)
    db.transact(sessions, lambda session: _succeeded(session, job, clock(), report))
    return report


def _succeeded(session: Session, job: Periodic, now: datetime, report: Report) -> None:
    job_runs.end(session, job.name, now, report)
    if job.changes(report):
        audit.note(session, now, _SOURCE, audit.Action.JOB_RUN, detail={"job": job.name, "report": report})


def _failed(session: Session, job: Periodic, now: datetime, kind: str, reason: str) -> None:
    last = job_runs.latest(session, job.name)
    # Of failures in a row only the first one is told.
    is_new = last is None or last.reason.partition(":")[0] != kind
    job_runs.end(session, job.name, now, None, reason)
    if is_new:
        detail = {"job": job.name, "reason": kind}
        audit.note(session, now, _SOURCE, audit.Action.JOB_RUN, outcome=job_runs.FAILURE, detail=detail)


def lead(leadership: Leadership, stop: threading.Event, pause: float) -> None:
    """Keep the leadership, or wait for it, until told to stop; then give it back."""
    was_held = False
    while True:
        try:
            is_held = leadership.renew()
        except Exception as error:  # The lease runs out by itself, and another process may have it then.
            log.warning("leadership_not_renewed", reason=type(error).__name__)
            is_held = leadership.is_held()
        if is_held is not was_held:
            log.info("leading" if is_held else "following", holder=leadership.holder)
            was_held = is_held
        if stop.wait(pause):
            break
    try:
        leadership.end()
    except Exception as error:
        log.warning("leadership_not_given_back", reason=type(error).__name__)
