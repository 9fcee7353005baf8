"""What the control plane tells Prometheus: how far recording is behind, what could not be recorded, what has prices."""

from collections.abc import Sequence

import redis
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy.exc import SQLAlchemyError

from manager import audit_chain, collector, db, dead_letters, job_runs, prices
from manager.db import Sessions
from manager.epoch import Epoch
from manager.publishing import PublishError
from manager.tables import JobRun

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def exposition(client: "redis.Redis", sessions: Sessions) -> bytes:
    """Return all gauges in Prometheus' text format; those of a store that is away are left out."""
    registry = CollectorRegistry()
    is_up = Gauge("llm_proxy_store_up", "Whether the manager reaches a store.", ["store"], registry=registry)
    is_up.labels("redis").set(_of_redis(client, registry))
    is_up.labels("database").set(_of_database(sessions, registry))
    _of_owner(client, sessions, registry)
    return generate_latest(registry)


def _of_redis(client: "redis.Redis", registry: CollectorRegistry) -> bool:
    try:
        lag, dead = collector.lag(client), dead_letters.count(client)
    except redis.RedisError:
        return False
    Gauge("llm_proxy_usage_lag", "Usage events that have not been recorded.", registry=registry).set(lag)
    unreadable = "Usage events that could not be recorded."
    Gauge("llm_proxy_usage_dead_letters", unreadable, registry=registry).set(dead)
    return True


def _of_database(sessions: Sessions, registry: CollectorRegistry) -> bool:
    try:
        with db.reading(sessions) as session:
            count, (chain, end, unchained) = prices.count(session), audit_chain.progress(session)
            runs = job_runs.all_latest(session)
    except SQLAlchemyError:
        return False
    Gauge("llm_proxy_prices", "Prices there are; without any, all costs are unknown.", registry=registry).set(count)
    behind = "Events of the audit that are not in its chain yet."
    Gauge("llm_proxy_audit_unchained", behind, registry=registry).set(unchained)
    last = "Position of the last event in the audit's chain, by the chain's id."
    Gauge("llm_proxy_audit_position", last, ["chain"], registry=registry).labels(chain).set(end)
    _of_jobs(runs, registry)
    return True


def _of_owner(client: "redis.Redis", sessions: Sessions, registry: CollectorRegistry) -> None:
    try:
        is_foreign = Epoch(client, sessions).is_foreign()
    except (PublishError, SQLAlchemyError):
        return
    told = "Whether Redis belongs to another database, and is not touched therefore."
    Gauge("llm_proxy_redis_is_foreign", told, registry=registry).set(is_foreign)


def _of_jobs(runs: Sequence[JobRun], registry: CollectorRegistry) -> None:
    ended = "When the last run of a periodic job ended, in seconds since 1970."
    last = Gauge("llm_proxy_job_ended_timestamp_seconds", ended, ["job"], registry=registry)
    failing = Gauge("llm_proxy_job_failing", "Whether the last run of a job failed.", ["job"], registry=registry)
    for run in runs:
        failing.labels(run.name).set(run.outcome == job_runs.FAILURE)
        if run.ended_at is not None:
            last.labels(run.name).set(run.ended_at.timestamp())
        if run.name == "reconcile" and "total" in run.report:
            differed = "What Redis said otherwise than SQL when they were last reconciled."
            Gauge("llm_proxy_reconcile_differences", differed, registry=registry).set(run.report["total"])
            kept = "What Redis has and SQL has not, and was left there, since it was suspiciously much."
            withheld = Gauge("llm_proxy_reconcile_withheld", kept, registry=registry)
            withheld.set(run.report.get("withheld", 0))
