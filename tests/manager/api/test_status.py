"""Rules of /manage/status: what goes on, and what nobody can tell while a store is away."""

from datetime import UTC, datetime, timedelta

import redis

from manager.tables import JobRun
from shared import redis_schema
from tests.manager.api.conftest import Api, set_aside
from tests.manager.conftest import NOW, Rows


def test_a_service_that_is_well_says_so(api: Api, redis_client: redis.Redis) -> None:
    made = api.project()
    api.token(made["id"])
    redis_client.set(redis_schema.EPOCH, "1")

    shown = api.get("status").json

    assert shown["is_ready"] is True and set(shown["checks"].values()) == {True} and shown["version"]
    assert shown["data_plane"] == {
        "usage_lag": 0,
        "dead_letters": 0,
        "running_requests": 0,
        "leases_renewed_at": None,
        "workers": [],
        "breakers": [],
    }
    assert shown["control_plane"] == {
        "unpublished": {"projects": 0, "tokens": 0, "publications": 0},
        "active_projects": 1,
        "active_tokens": 1,
        "active_keys": 1,
        "jobs": [],
    }


def test_what_lags_behind_and_what_is_set_aside_is_told(api: Api, lonely: Api, redis_client: redis.Redis) -> None:
    made = lonely.project()
    subject = f"key:{made['keys'][0]['id']}"
    set_aside(redis_client, subject, "status_429")
    redis_client.hset(redis_schema.BREAKERS, "key:nonsense", b"\xff")
    redis_client.xadd(redis_schema.USAGE_STREAM, {"event": b"x"})
    redis_client.xadd(redis_schema.USAGE_DEAD_LETTERS, {"event": b"x"})
    redis_client.zadd(redis_schema.OPEN, {"r1": 1})
    redis_client.set(redis_schema.RENEWED, redis_schema.to_ms(NOW))

    shown = api.get("status").json

    assert shown["is_ready"] is False and shown["control_plane"]["unpublished"]["projects"] == 1
    told = shown["data_plane"]
    assert (told["usage_lag"], told["dead_letters"], told["running_requests"]) == (1, 1, 1)
    assert datetime.fromisoformat(told["leases_renewed_at"]) == NOW
    assert [(breaker["subject"], breaker["health"]["reason"]) for breaker in told["breakers"]] == [
        (subject, "status_429")
    ]


def test_workers_are_told_while_they_are_heard_of(api: Api, redis_client: redis.Redis) -> None:
    now = datetime.now(UTC)
    seen = {"host:2": now, "host:1": now - timedelta(seconds=5), "host:0": now - timedelta(minutes=1)}
    redis_client.zadd(redis_schema.WORKERS, {name: redis_schema.to_ms(at) for name, at in seen.items()})

    assert [worker["name"] for worker in api.get("status").json["data_plane"]["workers"]] == ["host:1", "host:2"]


def test_jobs_are_told_with_their_latest_runs(api: Api, rows: Rows) -> None:
    rows.add(JobRun(name="forget", started_at=NOW, ended_at=NOW, outcome="success", report={"requests": 3}, reason=""))

    [job] = api.get("status").json["control_plane"]["jobs"]
    assert (job["name"], job["outcome"], job["report"]) == ("forget", "success", {"requests": 3})


def test_without_redis_the_database_is_told(lonely: Api) -> None:
    shown = lonely.get("status").json

    assert shown["data_plane"] is None and shown["control_plane"]["active_projects"] == 0
    assert shown["checks"]["redis"] is False and shown["is_ready"] is False
