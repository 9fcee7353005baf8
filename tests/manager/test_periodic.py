"""Rules of what the settings make of periodic jobs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from manager import db, rollup
from manager.exclusive import Periodic
from manager.periodic import jobs_of
from tests.manager.conftest import EVENT, SettingsOf

type Jobs = Callable[..., dict[str, Periodic]]


@pytest.fixture
def jobs(settings_of: SettingsOf, redis_client: redis.Redis, engine: sa.Engine) -> Jobs:
    """The jobs that variables make, by name."""

    def make(**variables: Any) -> dict[str, Periodic]:
        settings = settings_of(LLM_PROXY_REQUEST_RETENTION="P7D", **variables)
        return {job.name: job for job in jobs_of(settings, redis_client, engine)}

    return make


def test_requests_that_are_to_be_exported_are_forgotten_when_they_have_been(
    jobs: Jobs, sessions: db.Sessions, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(replace(EVENT, occurred_at=now - timedelta(days=8)))])
    known = jobs(LLM_PROXY_EXPORT_URL=f"file://{tmp_path}/export")
    later = now + timedelta(minutes=2)

    before = known["forget"].run(later)["requests"]
    known["export"].run(later)
    after = known["forget"].run(later)["requests"]

    assert (before, after) == (0, 1)


def test_without_an_export_nothing_is_waited_for(jobs: Jobs, sessions: db.Sessions) -> None:
    now = datetime.now(UTC)
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(replace(EVENT, occurred_at=now - timedelta(days=8)))])

    assert jobs()["forget"].run(now)["requests"] == 1


def test_a_backup_that_fails_is_tried_again_in_proportion_to_the_time_between_backups(jobs: Jobs) -> None:
    job = jobs(LLM_PROXY_BACKUP_EVERY="PT6H")["backup"]

    assert (job.every, job.pause(99)) == (timedelta(minutes=1), timedelta(minutes=90))
