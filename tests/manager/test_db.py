"""Rules of the door to SQL: readers hold up nobody, writers wait for each other, and the schema knows its version."""

import re
import stat
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError

from manager import db
from manager.tables import Project, Token
from tests.manager.conftest import NOW, PROJECT_ID, Rows, SettingsOf

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path}/new.db"


@pytest.fixture
def open_engine() -> Iterator[Callable[[str], sa.Engine]]:
    engines: list[sa.Engine] = []

    def make(url: str) -> sa.Engine:
        engines.append(db.create_engine(url))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


# Engines


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://proxy:secret@db.example/llm", "postgresql+psycopg"),
        ("postgresql+psycopg://proxy:secret@db.example/llm", "postgresql+psycopg"),
        ("sqlite:///llm.db", "sqlite"),
        ("sqlite+pysqlite:///llm.db", "sqlite+pysqlite"),
    ],
)
def test_a_url_chooses_the_database_and_we_the_driver(
    open_engine: Callable[[str], sa.Engine], url: str, driver: str
) -> None:
    engine = open_engine(url)

    assert engine.url.drivername == driver
    assert engine.url == sa.make_url(url).set(drivername=driver)


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 10_000)]
)
def test_sqlite_is_durable_strict_and_patient(
    open_engine: Callable[[str], sa.Engine], url: str, pragma: str, value: str | int
) -> None:
    with open_engine(url).connect() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_token_needs_its_project(rows: Rows) -> None:
    with pytest.raises(IntegrityError):
        rows.token(Project(id=PROJECT_ID))


def test_an_error_does_not_quote_values(rows: Rows) -> None:
    project = rows.project()
    rows.token(project, digest="the digest")

    with pytest.raises(IntegrityError) as caught:
        rows.token(project, digest="the digest", label="the label")

    assert "the label" not in str(caught.value)


@postgresql
def test_an_error_of_postgresql_does_not_quote_the_row(rows: Rows, engine: sa.Engine) -> None:
    rows.token(rows.project(), digest="the digest")
    copy = sa.text("INSERT INTO tokens SELECT * FROM tokens")
    spoil = sa.text("UPDATE tokens SET digest = NULL")

    told = {}
    for name, change in {"unique": copy, "not null": spoil}.items():
        with pytest.raises(IntegrityError) as caught, engine.begin() as connection:
            connection.execute(change)
        told[name] = "".join(traceback.format_exception(caught.value))

    assert "duplicate key value violates unique constraint" in told["unique"]
    assert 'null value in column "digest"' in told["not null"]
    assert not [text for text in told.values() if "DETAIL" in text or "the digest" in text or "sk-llmp" in text]


@postgresql
def test_an_error_at_commit_does_not_quote_the_row_either(rows: Rows, engine: sa.Engine) -> None:
    project = rows.project(name="the name")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE late (name text UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    try:
        with pytest.raises(IntegrityError) as caught, engine.begin() as connection:
            for _ in range(2):
                connection.execute(sa.text("INSERT INTO late SELECT name FROM projects"))
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE late"))

    text = "".join(traceback.format_exception(caught.value))
    assert "violates unique constraint" in text and project.name not in text


@postgresql
def test_what_the_driver_knows_of_an_error_stays_readable(rows: Rows, engine: sa.Engine) -> None:
    rows.project(name="search team")

    with pytest.raises(IntegrityError) as caught:
        rows.project(name="search team")

    assert caught.value.orig.sqlstate == "23505"
    assert db.reason(caught.value) == 'duplicate key value violates unique constraint "uq_projects_name"'


@pytest.mark.parametrize(
    ("query", "expected"), [("", ("5", "15000")), ("connect_timeout=9&tcp_user_timeout=7", ("9", "7"))], ids=str
)
def test_a_postgresql_that_is_away_is_noticed_soon(
    open_engine: Callable[[str], sa.Engine], postgres_url: str, query: str, expected: tuple[str, str]
) -> None:
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}{query}"

    with open_engine(url).connect() as connection:
        parameters = connection.connection.driver_connection.info.get_parameters()

    assert (parameters["connect_timeout"], parameters["tcp_user_timeout"]) == expected


@pytest.mark.parametrize("url", ["postgresql://u:the-password@127.0.0.1:1/db", "sqlite:////nobody/is/here.db"])
def test_the_reason_of_an_error_holds_no_link_no_sql_and_no_password(
    open_engine: Callable[[str], sa.Engine], url: str
) -> None:
    with pytest.raises(OperationalError) as caught:
        open_engine(url).connect()

    assert db.reason(caught.value).startswith(("connection failed", "unable to open database file"))
    assert not re.search("http|SELECT|the-password", db.reason(caught.value))


def test_objects_stay_readable_after_commit(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        project = Project(name="search team", provider="openai", created_at=NOW, updated_at=NOW)
        session.add(project)

    assert (project.name, project.version, project.base_url) == ("search team", 1, "")


def test_a_transaction_that_fails_leaves_nothing(sessions: db.Sessions, rows: Rows) -> None:
    with pytest.raises(RuntimeError), sessions.begin() as session:
        session.add(Project(name="half done", provider="openai", created_at=NOW, updated_at=NOW))
        session.flush()
        raise RuntimeError

    assert rows.all(Project) == []


# Side by side


def test_writers_wait_for_each_other_and_lose_nothing(sessions: db.Sessions, rows: Rows) -> None:
    token = rows.token(rows.project())

    def count(_: int) -> None:
        with sessions.begin() as session:
            session.get_one(Token, token.id, with_for_update=True).request_count += 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(80)))

    assert rows.fresh(token).request_count == 80


def test_a_reader_holds_up_no_writer(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project()

    with db.reading(sessions) as reader:
        assert reader.scalar(sa.select(Project.name)) == "search team"
        rows.change(project, name="renamed")

    assert rows.fresh(project).name == "renamed"


def test_a_writer_holds_up_no_reader(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project()

    with sessions.begin() as writer:
        writer.execute(sa.update(Project).values(name="renamed"))
        writer.flush()

        assert rows.fresh(project).name == "search team"


# The schema


def test_migrating_makes_the_schema_that_this_release_expects(
    open_engine: Callable[[str], sa.Engine], url: str
) -> None:
    engine = open_engine(url)
    before = db.is_current(engine)

    db.migrate(url)

    assert (before, db.is_current(engine)) == (False, True)


def test_migrating_again_keeps_what_is_there(database_url: str, engine: sa.Engine, rows: Rows) -> None:
    rows.token(rows.project())

    db.migrate(database_url)

    assert [token.label for token in rows.all(Token)] == ["demo"]
    assert db.is_current(engine)


@pytest.mark.parametrize("change", ["UPDATE alembic_version SET version_num = 'later'", "DELETE FROM alembic_version"])
def test_another_version_of_the_schema_is_not_the_expected_one(
    open_engine: Callable[[str], sa.Engine], url: str, change: str
) -> None:
    engine = open_engine(url)
    db.upgrade(engine)

    with engine.begin() as connection:
        connection.exec_driver_sql(change)

    assert not db.is_current(engine)


def test_asking_for_the_version_holds_up_no_writer_and_waits_for_none(engine: sa.Engine) -> None:
    with engine.begin():
        assert db.is_current(engine)


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [(db.Tuning(), ("30s", "10s")), (db.Tuning(statement_timeout=7, lock_timeout=0), ("7s", "0"))],
    ids=["default", "chosen"],
)
def test_postgresql_ends_what_takes_too_long(postgres_url: str, tuning: db.Tuning, expected: tuple[str, str]) -> None:
    engine = db.create_engine(postgres_url, tuning)

    with engine.connect() as connection:
        found = tuple(
            connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("statement_timeout", "lock_timeout")
        )

    engine.dispose()
    assert found == expected


def test_a_url_may_have_options_of_its_own(postgres_url: str) -> None:
    mark = "&" if "?" in postgres_url else "?"
    engine = db.create_engine(f"{postgres_url}{mark}options=-c%20statement_timeout%3D3s")

    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "3s"

    engine.dispose()


def test_the_settings_tune_the_pool(settings_of: SettingsOf) -> None:
    names = ("POOL_SIZE", "MAX_OVERFLOW", "POOL_RECYCLE", "STATEMENT_TIMEOUT", "LOCK_TIMEOUT")
    chosen = {f"LLM_PROXY_DB_{name}": str(number) for number, name in enumerate(names, 3)}
    engine = db.open_engine(settings_of(DATABASE_URL="postgresql://db.example/llm", **chosen))

    pool = engine.pool

    assert (pool.size(), pool._max_overflow, pool._recycle) == (3, 4, 5)
    engine.dispose()


def test_connections_of_postgresql_may_live_for_ever(settings_of: SettingsOf) -> None:
    engine = db.open_engine(settings_of(DATABASE_URL="postgresql://db.example/llm", LLM_PROXY_DB_POOL_RECYCLE="0"))

    assert engine.pool._recycle == -1
    engine.dispose()


def test_a_new_sqlite_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    engine = db.create_engine(f"sqlite:///{tmp_path}/new.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert files == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm"), 0o600)
    engine.dispose()


def test_the_mode_of_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.db").touch(0o640)
    (tmp_path / "old.db").chmod(0o640)
    engine = db.create_engine(f"sqlite:///{tmp_path}/old.db")

    with engine.connect():
        pass

    assert stat.S_IMODE((tmp_path / "old.db").stat().st_mode) == 0o640
    engine.dispose()
