"""Rules of transactions: what may go better is done again, what may have been done already is not."""

import sqlite3
import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from manager import db
from manager.tables import Project, Token
from manager.transactions import ATTEMPTS, is_transient
from tests.manager.conftest import NOW, Rows
from tests.postgres_relay import CommitRelay, Lost

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Pauses:
    """Takes no time; does something in each pause."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        self.taken: list[float] = []
        self._during = during

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self._during()


def add_project(session: Session, name: str = "search team") -> Project:
    project = Project(name=name, provider="openai", created_at=NOW, updated_at=NOW)
    session.add(project)
    return project


def end_own_connection(session: Session) -> None:
    session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))


def names(rows: Rows) -> list[str]:
    return [project.name for project in rows.all(Project)]


# What is done once


def test_work_that_goes_well_is_done_once_and_its_result_stays_readable(sessions: db.Sessions, rows: Rows) -> None:
    pauses = Pauses()

    project = db.transact(sessions, add_project, sleep=pauses)

    assert (project.name, project.version, names(rows), pauses.taken) == ("search team", 1, ["search team"], [])


def test_a_broken_rule_is_told_at_once(sessions: db.Sessions, rows: Rows) -> None:
    rows.project(name="search team")
    pauses = Pauses()

    with pytest.raises(IntegrityError):
        db.transact(sessions, add_project, sleep=pauses)

    assert pauses.taken == []


def test_a_fault_of_the_work_is_told_at_once_and_leaves_nothing(sessions: db.Sessions, rows: Rows) -> None:
    def work(session: Session) -> None:
        add_project(session)
        session.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.transact(sessions, work)

    assert names(rows) == []


def test_a_database_without_tables_is_told_at_once(tmp_path: object) -> None:
    engine, pauses = db.create_engine(f"sqlite:///{tmp_path}/empty.db"), Pauses()

    with pytest.raises(OperationalError, match="no such table"):
        db.transact(db.create_sessions(engine), add_project, sleep=pauses)

    engine.dispose()
    assert pauses.taken == []


# What is done again


@postgresql
def test_two_that_wait_for_each_other_both_get_through(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project()
    first, second = rows.token(project, digest="d1"), rows.token(project, digest="d2")
    both_hold_one = threading.Barrier(2)
    attempts: list[int] = []

    def count_both(one: Token, other: Token) -> None:
        def work(session: Session) -> None:
            attempts.append(1)
            session.get_one(Token, one.id, with_for_update=True).request_count += 1
            session.flush()
            if len(attempts) <= 2:
                both_hold_one.wait(10)
            session.get_one(Token, other.id, with_for_update=True).request_count += 1

        db.transact(sessions, work)

    threads = [threading.Thread(target=count_both, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(attempts) == 3
    assert (rows.fresh(first).request_count, rows.fresh(second).request_count) == (2, 2)


@postgresql
def test_a_serialization_failure_is_repeated(engine: sa.Engine, sessions: db.Sessions, rows: Rows) -> None:
    token = rows.token(rows.project())
    strict = db.create_sessions(engine.execution_options(isolation_level="SERIALIZABLE"))
    attempts: list[int] = []

    def work(session: Session) -> None:
        attempts.append(1)
        found = session.get_one(Token, token.id).request_count
        if len(attempts) == 1:
            rows.change(token, request_count=10)
        session.get_one(Token, token.id).request_count = found + 1

    db.transact(strict, work, sleep=Pauses())

    assert (len(attempts), rows.fresh(token).request_count) == (2, 11)


@postgresql
def test_a_connection_that_breaks_in_the_middle_is_replaced(sessions: db.Sessions, rows: Rows) -> None:
    attempts: list[int] = []

    def work(session: Session) -> None:
        attempts.append(1)
        add_project(session)
        session.flush()
        if len(attempts) == 1:
            end_own_connection(session)

    db.transact(sessions, work, sleep=Pauses())

    assert (len(attempts), names(rows)) == (2, ["search team"])


@postgresql
def test_a_connection_that_always_breaks_is_given_up(sessions: db.Sessions, rows: Rows) -> None:
    pauses = Pauses()

    with pytest.raises(OperationalError, match="terminating connection"):
        db.transact(sessions, end_own_connection, sleep=pauses)

    assert len(pauses.taken) == ATTEMPTS - 1
    assert all(later > earlier * 0.6 for earlier, later in zip(pauses.taken, pauses.taken[1:], strict=False))


def test_a_server_that_comes_back_is_found_again(postgres_url: str, migrated_urls: dict[str, str]) -> None:
    with CommitRelay(postgres_url) as relay:
        relay.closed.set()
        engine = db.create_engine(relay.url)

        found = db.transact(
            db.create_sessions(engine), lambda session: session.scalar(sa.select(7)), sleep=Pauses(relay.closed.clear)
        )

        engine.dispose()
    assert found == 7


def test_a_database_that_is_not_there_is_told_at_once(postgres_url: str) -> None:
    pauses = Pauses()
    engine = db.create_engine(sa.make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False))

    with pytest.raises(OperationalError, match="does not exist"):
        db.transact(db.create_sessions(engine), lambda session: session.scalar(sa.select(7)), sleep=pauses)

    assert pauses.taken == []


@pytest.fixture
def impatient(engine: sa.Engine) -> Iterator[db.Sessions]:
    """Sessions on the same SQLite that do not wait for a writer."""
    hasty = db.create_engine(engine.url.render_as_string(hide_password=False))
    sa.event.listen(hasty, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    yield db.create_sessions(hasty)
    hasty.dispose()


@sqlite
def test_a_busy_sqlite_is_tried_again(sessions: db.Sessions, impatient: db.Sessions, rows: Rows) -> None:
    with sessions() as writer:
        writer.execute(sa.update(Project).values(name="x"))

        db.transact(impatient, add_project, sleep=Pauses(writer.rollback))

    assert names(rows) == ["search team"]


@sqlite
def test_an_sqlite_that_stays_busy_is_told(sessions: db.Sessions, impatient: db.Sessions) -> None:
    pauses = Pauses()

    with sessions() as writer, pytest.raises(OperationalError, match="locked"):
        writer.execute(sa.update(Project).values(name="x"))
        db.transact(impatient, add_project, sleep=pauses)

    assert len(pauses.taken) == ATTEMPTS - 1


def test_other_errors_of_either_driver_are_lasting() -> None:
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = sqlite3.SQLITE_IOERR

    assert not is_transient(DBAPIError("", None, broken))
    assert not is_transient(DBAPIError("", None, ValueError("no driver's error")))


# What broke while committing


@pytest.fixture
def relay(postgres_url: str) -> Iterator[CommitRelay]:
    with CommitRelay(postgres_url) as made:
        yield made


@pytest.fixture
def relayed(relay: CommitRelay) -> Iterator[db.Sessions]:
    engine = db.create_engine(relay.url)
    yield db.create_sessions(engine)
    engine.dispose()


class Work:
    """Adds a project, another one each time."""

    def __init__(self) -> None:
        self.attempts = 0

    def __call__(self, session: Session) -> Project:
        self.attempts += 1
        return add_project(session, f"team {self.attempts}")


@postgresql
def test_a_commit_whose_answer_was_lost_is_not_repeated(relay: CommitRelay, relayed: db.Sessions, rows: Rows) -> None:
    relay.lose, work = [Lost.ANSWER], Work()

    project = db.transact(relayed, work)

    assert (project.name, names(rows), work.attempts) == ("team 1", ["team 1"], 1)


@postgresql
def test_what_was_read_stays_readable_when_the_answer_was_lost(
    relay: CommitRelay, relayed: db.Sessions, rows: Rows
) -> None:
    rows.project()
    relay.lose = [Lost.ANSWER]

    def rename(session: Session) -> Project:
        project = session.scalars(sa.select(Project)).one()
        project.name = "renamed"
        return project

    project = db.transact(relayed, rename)

    assert (project.name, project.provider, project.keys, names(rows)) == ("renamed", "openai", [], ["renamed"])


@postgresql
def test_a_commit_that_never_arrived_is_repeated(relay: CommitRelay, relayed: db.Sessions, rows: Rows) -> None:
    relay.lose, work = [Lost.REQUEST], Work()

    db.transact(relayed, work)

    assert (names(rows), work.attempts) == (["team 2"], 2)


@postgresql
def test_what_only_read_is_repeated_without_asking(relay: CommitRelay, relayed: db.Sessions, rows: Rows) -> None:
    rows.project()
    relay.lose = [Lost.ANSWER]

    found = db.transact(relayed, lambda session: session.scalar(sa.select(Project.name)))

    assert found == "search team"


@postgresql
@pytest.mark.parametrize("lost", Lost)
def test_a_commit_of_which_nothing_can_be_learned_is_not_repeated(
    relay: CommitRelay, relayed: db.Sessions, rows: Rows, lost: Lost
) -> None:
    relay.lose, work = [lost], Work()

    def add_and_cut_off(session: Session) -> None:
        work(session)
        session.flush()
        relay.closed.set()

    with pytest.raises(db.CommitUnknown) as caught:
        db.transact(relayed, add_and_cut_off, sleep=Pauses())

    assert work.attempts == 1 and len(names(rows)) <= 1
    assert db.reason(caught.value) == "the connection broke while committing; whether it was committed is not known"


@postgresql
def test_a_server_that_was_started_since_tells_nothing_about_a_commit(
    relay: CommitRelay, relayed: db.Sessions, rows: Rows
) -> None:
    """Its ids may be those of others. A function of that name in front of the server's own plays the later start."""
    relay.lose = [Lost.ANSWER]

    def add_and_restart(session: Session) -> None:
        add_project(session)
        session.execute(sa.text("CREATE SCHEMA later"))
        session.execute(sa.text("ALTER ROLE CURRENT_USER SET search_path TO later, pg_catalog, public"))
        session.execute(
            sa.text(
                "CREATE FUNCTION later.pg_postmaster_start_time() RETURNS timestamptz"
                " LANGUAGE sql AS 'SELECT now() + interval ''1 day'''"
            )
        )

    try:
        with pytest.raises(db.CommitUnknown):
            db.transact(relayed, add_and_restart, sleep=Pauses())
    finally:
        with rows._sessions.begin() as session:
            session.execute(sa.text("ALTER ROLE CURRENT_USER RESET search_path"))
            session.execute(sa.text("DROP SCHEMA IF EXISTS later CASCADE"))

    assert names(rows) == ["search team"]


@postgresql
def test_work_that_may_be_done_twice_is_repeated_whatever_became_of_it(
    relay: CommitRelay, relayed: db.Sessions, rows: Rows
) -> None:
    relay.lose, work = [Lost.ANSWER], Work()

    db.transact(relayed, work, is_repeatable=True)

    assert (names(rows), work.attempts) == (["team 1", "team 2"], 2)
