"""The jobs process: collects usage, heals Redis, keeps retention and prices. A failing job is tried again, alone."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import redis
from sqlalchemy.exc import SQLAlchemyError

from manager import backup_schedule, db, servers
from manager.audit_chain import Chain
from manager.backup_schedule import BackupSchedule
from manager.collector import Collector
from manager.janitor import forget_requests
from manager.logins import Logins
from manager.price_seed import PriceSeed
from manager.publisher import Publisher, PublishError
from manager.stores import connect_redis
from manager.tallies import SafeTallies
from shared import logs
from shared.settings import Settings

COLLECT_BLOCK_MS = 500
HEAL_SECONDS = 0.5
FORGET_SECONDS = 3600.0
SEED_SECONDS = 3600.0
CHAIN_SECONDS = 0.5
LOGINS_SECONDS = 10.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

# Parts that are away for a while; anything else is a fault of our own and is logged with its traceback.
FORESEEN = (redis.RedisError, SQLAlchemyError, PublishError, OSError)

log = logs.get("jobs")


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
    engine = db.open_engine(settings)
    sessions = db.create_sessions(engine)
    client = connect_redis(settings.redis_url)
    prices = PriceSeed(sessions, settings.providers_file)
    chain, logins = Chain(sessions, settings.encryption_keys), Logins(sessions, SafeTallies(client))
    jobs = [
        Job("collect", partial(Collector(client, sessions).collect_once, COLLECT_BLOCK_MS), 0.0),
        Job("heal", partial(heal, Publisher(client, sessions)), HEAL_SECONDS),
        Job("forget", lambda: forget_requests(sessions, datetime.now(UTC), settings.request_retention), FORGET_SECONDS),
        Job("seed_prices", lambda: prices.seed(datetime.now(UTC)), SEED_SECONDS),
        Job("chain", chain.extend, CHAIN_SECONDS),
        Job("failed_logins", lambda: logins.flush(datetime.now(UTC)), LOGINS_SECONDS),
        Job("forget_audit", lambda: chain.forget(datetime.now(UTC), settings.audit_retention), FORGET_SECONDS),
    ]
    if schedule := BackupSchedule.of(settings, engine):
        jobs.append(Job("backup", lambda: schedule.run(datetime.now(UTC)), backup_schedule.PAUSE_SECONDS))
    threads = [threading.Thread(target=repeat, args=(job, stop), name=job.name) for job in jobs]
    for thread in threads:
        thread.start()
    log.info("jobs_started", jobs=[job.name for job in jobs])
    stop.wait()
    for thread in threads:
        thread.join()
    client.close()
    engine.dispose()
