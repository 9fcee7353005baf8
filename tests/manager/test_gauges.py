"""Rules of the gauges: what is behind, what is dead, what has prices, and which store is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from manager import audit, db, gauges, job_runs
from manager.audit_chain import Chain
from manager.stores import connect_redis
from manager.tables import AuditChain, Price
from shared import redis_schema, sealing
from tests.manager.conftest import EVENT, NOBODY, NOW, Rows


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[db.Sessions]:
    """Sessions on a database that has no tables."""
    engine = db.create_engine(f"sqlite:///{tmp_path}/empty.db")
    yield db.create_sessions(engine)
    engine.dispose()


def read(client: redis.Redis, sessions: db.Sessions) -> dict[str, float]:
    """Every gauge by its name and label."""
    families = text_string_to_metric_families(gauges.exposition(client, sessions).decode())
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for f in families for sample in f.samples}


def test_at_first_nothing_is_behind(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    assert read(redis_client, sessions) == {
        "llm_proxy_store_up redis": 1,
        "llm_proxy_store_up database": 1,
        "llm_proxy_usage_lag": 0,
        "llm_proxy_usage_dead_letters": 0,
        "llm_proxy_prices": 0,
        "llm_proxy_audit_unchained": 0,
        "llm_proxy_audit_position ": 0,
        "llm_proxy_redis_is_foreign": 0,
    }


def test_what_waits_is_told(redis_client: redis.Redis, sessions: db.Sessions, rows: Rows) -> None:
    for _ in range(3):
        redis_client.xadd(redis_schema.USAGE_STREAM, redis_schema.encode_event(EVENT))
    redis_client.xadd(redis_schema.USAGE_DEAD_LETTERS, {"event": "{"})
    rows.add(Price(provider="openai", model="gpt-5", prompt=7, updated_at=NOW))

    found = read(redis_client, sessions)

    names = ("llm_proxy_usage_lag", "llm_proxy_usage_dead_letters", "llm_proxy_prices")
    assert [found[name] for name in names] == [3, 1, 1]


def test_a_store_that_is_away_tells_nothing(redis_client: redis.Redis, broken: db.Sessions) -> None:
    assert read(connect_redis(NOBODY), broken) == {"llm_proxy_store_up redis": 0, "llm_proxy_store_up database": 0}


def test_how_far_the_audit_is_chained_is_told(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    def write() -> None:
        with sessions.begin() as session:
            audit.note(session, NOW, audit.Source("ops"), audit.Action.LOGIN)

    write()
    write()
    Chain(sessions, sealing.Keyring.parse(f"k1:{sealing.generate_key()}")).extend()
    write()

    found = read(redis_client, sessions)
    with db.reading(sessions) as session:
        chain = session.scalars(sa.select(AuditChain.chain_id)).one()
    assert (found[f"llm_proxy_audit_position {chain}"], found["llm_proxy_audit_unchained"]) == (3, 1)


def test_how_jobs_went_is_told(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        for name, report in (("reconcile", {"total": 3, "withheld": 2}), ("export", None)):
            job_runs.begin(session, name, NOW)
            job_runs.end(session, name, NOW, report, "" if report else "OSError: away")

    found = read(redis_client, sessions)

    assert (found["llm_proxy_job_failing reconcile"], found["llm_proxy_job_failing export"]) == (0, 1)
    assert found["llm_proxy_job_ended_timestamp_seconds reconcile"] == NOW.timestamp()
    assert (found["llm_proxy_reconcile_differences"], found["llm_proxy_reconcile_withheld"]) == (3, 2)


def test_a_redis_of_another_database_is_told(redis_client: redis.Redis, sessions: db.Sessions) -> None:
    name = "llm_proxy_redis_is_foreign"
    before = read(redis_client, sessions)[name]
    redis_client.set(redis_schema.DATABASE, "another")

    assert (before, read(redis_client, sessions)[name]) == (0, 1)
