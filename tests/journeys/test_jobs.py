"""Several jobs processes: one leads, another takes over when it is killed, and what a killed manager left heals."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from manager import db
from manager.leases import LIFE
from manager.reconcile import Reconciler
from manager.tables import AuditEvent, JobRun, Lease, Project, Token
from shared import redis_schema, sealing, settings
from tests.journeys.conftest import until

pytestmark = pytest.mark.journey


class Processes:
    """Real `llm-proxy jobs` on shared stores."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LLM_PROXY_DATA_DIR": str(folder)}
        variables |= {name: settings.generate_secret() for name in ("MANAGEMENT_TOKEN", "TOKEN_PEPPER")}
        variables |= {"ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}"}
        self._environment = settings.child_environment(None, variables)
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> "subprocess.Popen[bytes]":
        with (self._folder / f"jobs-{len(self._running)}.log").open("wb") as log:
            command = [sys.executable, "-m", "manager.cli", "jobs"]
            process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def logs(self) -> list[str]:
        paths = (self._folder / f"jobs-{number}.log" for number in range(len(self._running)))
        return [path.read_text() for path in paths]


@pytest.fixture
def processes(tmp_path: Path, database_url: str, valkey_url: str, redis_client: redis.Redis) -> Iterator[Processes]:
    made = Processes(tmp_path, database_url, valkey_url)
    yield made
    made.end()


@contextmanager
def reading(sessions: db.Sessions) -> Iterator[Any]:
    with db.reading(sessions) as session:
        yield session


def leader(sessions: db.Sessions) -> int | None:
    """The process that leads."""
    with reading(sessions) as session:
        holder = session.scalar(sa.select(Lease.holder).where(Lease.name == "jobs", Lease.until > datetime.now(UTC)))
    return None if holder is None else int(holder.rsplit("-", 2)[1])


def runs_of(sessions: db.Sessions, name: str) -> int:
    with reading(sessions) as session:
        return 0 if session.get(JobRun, name) is None else 1


@pytest.mark.timeout(120)
def test_when_the_leader_is_killed_another_one_takes_over_within_the_life_of_its_lease(
    processes: Processes, sessions: db.Sessions
) -> None:
    both = {process.pid: process for process in (processes.start(), processes.start())}
    first = until(lambda: leader(sessions), 30)
    until(lambda: runs_of(sessions, "forget"))

    both[first].send_signal(signal.SIGKILL)

    [other] = set(both) - {first}
    until(lambda: leader(sessions) == other, LIFE.total_seconds() + 10)
    # What the first one ran is not due, though another one leads now.
    logs = processes.logs()
    assert sum("leading" in log for log in logs) == 2


@pytest.mark.timeout(120)
def test_a_leader_that_is_stopped_is_followed_at_once(processes: Processes, sessions: db.Sessions) -> None:
    both = {process.pid: process for process in (processes.start(), processes.start())}
    first = until(lambda: leader(sessions), 30)

    both[first].terminate()

    assert both[first].wait(20) == 0
    [other] = set(both) - {first}
    until(lambda: leader(sessions) == other, LIFE.total_seconds() / 3 + 5)


@pytest.mark.timeout(120)
def test_what_was_committed_and_not_published_heals_and_what_expired_is_cleaned_up(
    processes: Processes, sessions: db.Sessions, redis_client: redis.Redis
) -> None:
    now = datetime.now(UTC)
    old, alive = now - timedelta(days=100), now + timedelta(days=1)
    with sessions.begin() as session:
        project = Project(name="search team", provider="openai", created_at=now, updated_at=now)
        session.add(project)
        session.flush()
        for digest, expires_at in (("d1", alive), ("d2", old)):
            columns = {"project_id": project.id, "digest": digest, "masked": "sk-…", "created_at": old}
            session.add(Token(**columns, updated_at=old, expires_at=expires_at))

    processes.start()

    until(lambda: redis_client.exists(redis_schema.token_key("d1")), 30)
    until(lambda: runs_of(sessions, "expired_tokens"))

    def is_noted() -> bool:
        with reading(sessions) as session:
            return bool(session.scalar(sa.select(AuditEvent.id).where(AuditEvent.action == "job.run")))

    until(is_noted)
    with reading(sessions) as session:
        assert session.scalars(sa.select(Token.digest)).all() == ["d1"]
        report = session.get_one(JobRun, "expired_tokens").report
    assert (report["tokens"], report["projects"][str(project.id)]["name"]) == (1, "search team")
    until(lambda: Reconciler(redis_client, sessions).check().is_equal)
