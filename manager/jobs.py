"""The jobs process: collects usage, heals Redis, chains the audit, and runs the periodic jobs of manager/periodic.py.

Of several such processes all collect and heal, and one leads: it alone does the rest. A failing job is tried again,
alone.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db, servers
from manager.audit_chain import Chain
from manager.collector import Collector
from manager.denials import Denials
from manager.exclusive import Exclusive, Report, lead, run_now
from manager.leases import LIFE, Leadership
from manager.logins import Logins
from manager.periodic import jobs_of
from manager.publisher import Publisher, PublishError
from manager.stores import connect_redis
from manager.tallies import SafeTallies
from shared import logs
from shared.settings import Settings

COLLECT_BLOCK_MS = 500
HEAL_SECONDS = 0.5
CHAIN_SECONDS = 0.5
LOGINS_SECONDS = 10.0
# How often the leader renews its lease, and a follower tries to get it; and how often a job asks whether it is due.
LEAD_SECONDS = LIFE.total_seconds() / 3
LOOK_SECONDS = 1.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

# Parts that are away for a while; anything else is a fault of our own and is logged with its traceback.
FORESEEN = (redis.RedisError, SQLAlchemyError, PublishError, OSError)

log = logs.get("jobs")


class NoSuchJob(Exception):
    """There is no periodic job of this name; the message names those that there are."""


@dataclass(frozen=True)
class Job:
    """Something to do again and again, with a pause in seconds after each time."""

    name: str
    run: Callable[[], object]
    pause: float


def repeat(job: Job, stop: threading.Event) -> None:
    """Run a job until told to stop. It is logged when it begins to fail and when it works again; pauses grow."""
    pause, is_failing = 0.0, False
    while not stop.wait(pause):
        try:
            job.run()
        except Exception as error:  # Whatever is wrong with one job must not end it for good, nor the others.
            if not is_failing:
                is_unforeseen = not isinstance(error, FORESEEN)
                log.error("job_fails", job=job.name, reason=f"{type(error).__name__}: {error}", exc_info=is_unforeseen)
            pause = min(pause * 2, LONGEST_PAUSE) if is_failing else FIRST_PAUSE
            is_failing = True
        else:
            if is_failing:
                log.info("job_works_again", job=job.name)
            pause, is_failing = job.pause, False


def heal(publisher: Publisher) -> None:
    """Bring Redis to what SQL says: all of it if it was lost, else what a crash left unpublished."""
    if publisher.republish_if_lost():
        log.warning("redis_republished")
    elif count := publisher.publish_pending():
        log.warning("pending_changes_published", count=count)


def run(settings: Settings) -> None:
    """Run all jobs until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    servers.report_meanwhile(settings)
    with _stores(settings) as (client, engine):
        jobs, leadership = _jobs(settings, client, engine)
        threads = [threading.Thread(target=repeat, args=(job, stop), name=job.name) for job in jobs]
        threads.append(threading.Thread(target=lead, args=(leadership, stop, LEAD_SECONDS), name="lead"))
        for thread in threads:
            thread.start()
        log.info("jobs_started", jobs=[job.name for job in jobs])
        stop.wait()
        for thread in threads:
            thread.join()


def run_once(settings: Settings, name: str) -> Report:
    """Run one periodic job now, whoever leads, and return its report. Raises NoSuchJob, RunsElsewhere."""
    with _stores(settings) as (client, engine):
        known = {job.name: job for job in jobs_of(settings, client, engine)}
        if name not in known:
            raise NoSuchJob(f"There is no such job, or it is switched off; there are {', '.join(sorted(known))}.")
        return run_now(known[name], db.create_sessions(engine))


def _jobs(settings: Settings, client: "redis.Redis", engine: sa.Engine) -> tuple[list[Job], Leadership]:
    sessions = db.create_sessions(engine)
    leadership, chain = Leadership(sessions, "jobs"), Chain(sessions, settings.encryption_keys)
    logins, denials = Logins(sessions, SafeTallies(client)), Denials(sessions, client)
    everywhere = [
        Job("collect", partial(Collector(client, sessions).collect_once, COLLECT_BLOCK_MS), 0.0),
        Job("heal", partial(heal, Publisher(client, sessions)), HEAL_SECONDS),
        Job("chain", _led(leadership, chain.extend), CHAIN_SECONDS),
        Job("failed_logins", _led(leadership, lambda: logins.flush(datetime.now(UTC))), LOGINS_SECONDS),
        Job("denials", _led(leadership, lambda: denials.flush(datetime.now(UTC))), LOGINS_SECONDS),
    ]
    periodic = [
        Job(job.name, Exclusive(job, sessions, leadership).run_if_due, LOOK_SECONDS)
        for job in jobs_of(settings, client, engine)
    ]
    return [*everywhere, *periodic], leadership


def _led(leadership: Leadership, run: Callable[[], object]) -> Callable[[], None]:
    """Return what runs something only in the process that leads."""

    def led() -> None:
        if leadership.is_held():
            run()

    return led


@contextmanager
def _stores(settings: Settings) -> Iterator[tuple["redis.Redis", sa.Engine]]:
    engine = db.open_engine(settings)
    client = connect_redis(settings.redis_url)
    try:
        yield client, engine
    finally:
        client.close()
        engine.dispose()
