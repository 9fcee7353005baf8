"""The periodic jobs there are, each with how often it runs, what it does and what it reports."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import redis
import sqlalchemy as sa

from manager import db, export, janitor, keys
from manager.audit_chain import Chain
from manager.backup_schedule import BackupSchedule
from manager.db import Sessions
from manager.exclusive import Periodic, Report
from manager.export import Export, sink_of
from manager.key_health import KeyHealth
from manager.price_seed import PriceSeed
from manager.reconcile import Reconciler
from manager.refusals import Refusals
from manager.rules import Rules
from shared import logs, providers
from shared.settings import Settings

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
EXPORT_EVERY = timedelta(seconds=15)

log = logs.get("jobs")


def jobs_of(settings: Settings, client: "redis.Redis", engine: sa.Engine) -> list[Periodic]:
    """Return the jobs that these settings switch on."""
    return list(_jobs(settings, client, engine))


def _jobs(settings: Settings, client: "redis.Redis", engine: sa.Engine) -> Iterator[Periodic]:
    sessions = db.create_sessions(engine)
    chain = Chain(sessions, settings.encryption_keys)
    prices = PriceSeed(sessions, settings.providers_file)
    yield Periodic("forget", partial(_forget, settings, sessions, chain), HOUR)
    yield Periodic("expired_tokens", partial(_expired_tokens, settings, sessions), HOUR, changes=_any("tokens"))
    yield Periodic("seed_prices", partial(_seed, prices), HOUR)
    yield Periodic("refusals", Refusals(client, sessions).write_down, MINUTE)
    if settings.reconcile_every is not None:
        every = settings.reconcile_every
        run = partial(_reconcile, Reconciler(client, sessions))
        yield Periodic("reconcile", run, every, waits_first=True, changes=_any("total"))
    if settings.key_probe_every is not None:
        rules = Rules(settings.encryption_keys, providers.load(settings.providers_file), settings.allow_http_upstream)
        health = KeyHealth(client, sessions, lambda project, key: keys.probe(rules, project, key, settings))
        yield Periodic("key_probe", health.probe, settings.key_probe_every, waits_first=True, changes=_any("refused"))
    if settings.export_url:
        ship = Export(sessions, sink_of(settings.export_url, settings.export_header)).ship
        yield Periodic("export", ship, EXPORT_EVERY)
    if schedule := BackupSchedule.of(settings, engine):
        # The folder tells whether one is due, so that those that were made by hand count, too.
        yield Periodic("backup", partial(_backup, schedule), MINUTE, work_every=schedule.every)


def _forget(settings: Settings, sessions: Sessions, chain: Chain, now: datetime) -> Report:
    shipped = None
    if settings.export_url:
        with db.reading(sessions) as session:
            shipped = export.shipped(session)
    return {
        "requests": janitor.forget_requests(sessions, now, settings.request_retention, shipped),
        "idempotent_answers": janitor.forget_answers(sessions, now),
        "ui_sessions": janitor.forget_ui_sessions(sessions, now),
        "activity": janitor.forget_activity(sessions, now),
        "audit_events": chain.forget(now, settings.audit_retention, shipped.audit if shipped else None),
    }


def _expired_tokens(settings: Settings, sessions: Sessions, now: datetime) -> Report:
    if settings.token_retention is None:
        return {"tokens": 0, "projects": {}}
    report = janitor.forget_tokens(sessions, now, settings.token_retention)
    if report["tokens"]:
        log.info("expired_tokens_forgotten", count=report["tokens"])
    return report


def _backup(schedule: BackupSchedule, now: datetime) -> Report:
    schedule.run(now)
    newest = schedule.newest(now)
    return {"newest": newest[1].name, "made_at": newest[0].isoformat()} if newest else {}


def _seed(prices: PriceSeed, now: datetime) -> Report:
    prices.seed(now)
    return {}


def _reconcile(reconciler: Reconciler, _: datetime) -> Report:
    found = reconciler.mend_unattended()
    if found.withheld:
        log.error("redis_has_too_much", count=found.withheld, advice="run `llm-proxy reconcile --check`")
    if not found.is_equal:
        log.warning("redis_differed", **found.summary()["differences"])
    return found.summary()


def _any(name: str) -> Any:
    return lambda report: bool(report.get(name))
