"""What the tests of the control plane share: rows of SQL, a usage event to vary, settings of given variables only."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from manager import create_app, db, logins, tallies
from manager.tables import Base, Project, Token, UpstreamKey, new_id
from shared import sealing
from shared import settings as environment
from shared.models import Outcome, Usage, UsageEvent
from shared.settings import Plane, Settings

NOW = datetime(2026, 5, 4, 10, 20, 30, 456_000, tzinfo=UTC)
PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
MANAGEMENT_TOKEN = "management-0123456789-abcdefghijkl"
PEPPER = "pepper-9876543210-zyxwvutsrqponmlkj"
NOBODY = "unix:///nobody/listens/here.sock"
PROJECT_ID = UUID("018f0000-0000-7000-8000-00000000000a")
TOKEN_ID = UUID("018f0000-0000-7000-8000-00000000000b")
EVENT = UsageEvent(
    request_id="r1",
    occurred_at=NOW,
    project_id=str(PROJECT_ID),
    token_id=str(TOKEN_ID),
    upstream_key_id=None,
    sequence=1,
    provider="openai",
    route="chat.completions",
    method="POST",
    model="gpt-5-mini",
    status=200,
    outcome=Outcome.FINISHED,
    error_code=None,
    is_stream=True,
    chunks=12,
    request_bytes=300,
    response_bytes=4000,
    duration_ms=812.5,
    first_byte_ms=101.25,
    usage=Usage(10, 20, 30),
)

# For rules in which the database plays no part.
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

type Serve = Callable[..., Flask]
type SettingsOf = Callable[..., Settings]


def numbered(count: int, event: UsageEvent = EVENT) -> list[UsageEvent]:
    """As many requests of one token, one after the other."""
    return [replace(event, request_id=f"r{number:05}", sequence=number + 1) for number in range(count)]


class Rows:
    """Puts vivid rows into SQL and reads them again."""

    def __init__(self, sessions: db.Sessions) -> None:
        self._sessions = sessions

    def project(self, *sealed: str, **columns: Any) -> Project:
        """A project with one key for each sealed text."""
        keys = [UpstreamKey(id=new_id(), sealed=text, masked="sk-…", created_at=NOW) for text in sealed]
        defaults = {"name": "search team", "provider": "openai", "created_at": NOW, "updated_at": NOW}
        return self.add(Project(**(defaults | columns), keys=keys))

    def token(self, project: Project, **columns: Any) -> Token:
        return self.add(Token(**token_columns(project, **columns)))

    def tokens(self, project: Project, count: int) -> None:
        """Many tokens, whose digests are their numbers."""
        with self._sessions.begin() as session:
            columns = [token_columns(project, id=new_id(), digest=f"{number:064}") for number in range(count)]
            session.execute(sa.insert(Token), columns)

    def add[Row: Base](self, row: Row) -> Row:
        with self._sessions.begin() as session:
            session.add(row)
        return row

    def change(self, row: Any, **columns: Any) -> None:
        """Change columns of a row in SQL and of nothing else."""
        with self._sessions.begin() as session:
            session.execute(sa.update(type(row)).where(type(row).id == row.id).values(**columns))

    def fresh[Row: Base](self, row: Row) -> Row:
        """A row as it stands now."""
        with db.reading(self._sessions) as session:
            return session.get_one(type(row), sa.inspect(row).identity)

    def all[Row: Base](self, table: type[Row]) -> list[Row]:
        """Every row of a table, by its primary key."""
        with db.reading(self._sessions) as session:
            return list(session.scalars(sa.select(table).order_by(*table.__table__.primary_key)))


def token_columns(project: Project, **columns: Any) -> dict[str, Any]:
    """The columns of an active token that lives for long."""
    lives = {"expires_at": datetime.now(UTC) + timedelta(days=1), "created_at": NOW, "updated_at": NOW}
    return {"project_id": project.id, "label": "demo", "digest": "d1", "masked": "sk-llmp-…"} | lives | columns


@pytest.fixture
def rows(sessions: db.Sessions) -> Rows:
    return Rows(sessions)


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> SettingsOf:
    """Makes settings of a plane from given variables and from nothing else; secrets are made up."""
    for variable in environment.variables():
        monkeypatch.delenv(variable.name, raising=False)
        monkeypatch.delenv(f"{variable.name}_FILE", raising=False)
    required = {"MANAGEMENT_TOKEN": environment.generate_secret(), "TOKEN_PEPPER": environment.generate_secret()}
    required["ENCRYPTION_KEYS"] = f"k1:{sealing.generate_key()}"
    return lambda plane=Plane.CONTROL, **variables: environment.load(plane, required | variables)


@pytest.fixture
def asked_for() -> Iterator[Callable[[], int]]:
    """Tells which signal this process has asked for; afterwards it has asked for none."""
    libc = ctypes.CDLL(None)

    def read() -> int:
        found = ctypes.c_int()
        assert libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(found)) == 0
        return found.value

    yield read
    libc.prctl(PR_SET_PDEATHSIG, 0)


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return sealing.generate_key()


@pytest.fixture(scope="session")
def keyring(encryption_key: str) -> sealing.Keyring:
    return sealing.Keyring.parse(f"k1:{encryption_key}")


@pytest.fixture(scope="session")
def serve(encryption_key: str, migrated_urls: dict[str, str], valkey_url: str) -> Iterator[Serve]:
    """Gives the app of some variables and of no others; an app keeps nothing but connections, so it is made once."""
    required = {"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN, "ENCRYPTION_KEYS": f"k1:{encryption_key}", "TOKEN_PEPPER": PEPPER}
    # Tests hurry. What slows others down has tests of its own.
    required |= {"LLM_PROXY_API_RATE": "999999999 per second", "LLM_PROXY_LOGIN_FAILURES": "1000000"}
    apps: dict[frozenset[tuple[str, str]], Flask] = {}

    def give(**variables: str) -> Flask:
        key = frozenset(variables.items())
        if key not in apps:
            apps[key] = create_app(configure(required | variables))
        return apps[key]

    yield give
    for app in apps.values():
        app.extensions["llm_proxy"].close()


def configure(variables: dict[str, str]) -> Settings:
    """The manager's settings under these variables and no others."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in environment.variables():
            patch.delenv(variable.name, raising=False)
            patch.delenv(f"{variable.name}_FILE", raising=False)
        return environment.load(Plane.CONTROL, variables)


@pytest.fixture
def app(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Flask:
    """The service on an empty database and an empty Redis, which knows its operator already."""
    redis_client.set(tallies.PREFIX + logins.seen("management", "127.0.0.1"), 1)
    return serve(DATABASE_URL=database_url, REDIS_URL=valkey_url)
