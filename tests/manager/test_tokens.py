"""Rules of tokens, without HTTP: their life, their limits, and that revoked means revoked."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db, projects, tokens
from manager.errors import Conflict, Invalid, NotFound, ProjectInactive
from manager.projects import Rules
from manager.tables import Project, Token
from shared import providers
from shared import tokens as formats
from shared.models import MOST
from shared.sealing import Keyring, generate_key

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
HOUR, LONGEST = timedelta(hours=1), timedelta(days=30)
INSTANT = timedelta(microseconds=1)
PEPPER = b"a pepper for tests, never used elsewhere"
RULES = Rules(Keyring.parse(f"k1:{generate_key()}"), providers.load(), allow_http_upstream=False)

# For rules in which the database plays no part.
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def session(sessions: db.Sessions) -> Iterator[Session]:
    """A session that never commits."""
    with sessions() as opened:
        yield opened


@pytest.fixture
def project(session: Session) -> Project:
    return projects.create(session, RULES, NOON, name="search team", api_key="sk-provider-key-0123")


@pytest.fixture
def token(session: Session, project: Project) -> Token:
    """A token as it was made at noon, for an hour."""
    return make(session, project.id)[0]


def make(session: Session, project_id: UUID, **more: Any) -> tuple[Token, str]:
    wanted = {"expires_in": HOUR, "longest": LONGEST} | more
    return tokens.create(session, PEPPER, NOON, project_id=project_id, **wanted)


# Making


def test_a_token_is_kept_as_digest_and_mask_of_its_secret(session: Session, project: Project) -> None:
    token, secret = make(session, project.id, max_requests=3, label="nightly")

    assert formats.is_well_formed(secret)
    assert (token.digest, token.masked) == (formats.digest(secret, PEPPER), formats.mask(secret))
    assert (token.label, token.max_requests, token.request_count) == ("nightly", 3, 0)
    assert (token.expires_at, token.created_at, token.updated_at) == (NOON + HOUR, NOON, NOON)
    assert (token.is_active, token.version, token.published_version) == (True, 1, 0)


@one_database
@pytest.mark.parametrize("life", [INSTANT, HOUR, LONGEST])
def test_a_life_may_be_as_long_as_the_longest(session: Session, project: Project, life: timedelta) -> None:
    assert make(session, project.id, expires_in=life)[0].expires_at == NOON + life


@one_database
@pytest.mark.parametrize("life", [timedelta(0), -INSTANT, LONGEST + INSTANT])
def test_a_life_without_length_or_too_long_is_refused(session: Session, project: Project, life: timedelta) -> None:
    with pytest.raises(Invalid, match="at most P30D") as refused:
        make(session, project.id, expires_in=life)

    assert refused.value.field == "expires_in"


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_requests", 0),
        ("max_requests", -1),
        ("max_requests", MOST + 1),
        ("label", "x" * 201),
        ("label", "a\0b"),
    ],
    ids=["no request", "less than none", "too many", "too long", "nul"],
)
def test_a_faulty_value_is_refused(session: Session, project: Project, field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        make(session, project.id, **{field: value})

    assert refused.value.field == field


def test_a_project_that_is_not_there_takes_no_tokens(session: Session) -> None:
    with pytest.raises(NotFound):
        make(session, UUID(int=7))


def test_a_project_that_is_off_takes_no_tokens(session: Session, project: Project) -> None:
    projects.update(session, RULES, NOON, project, is_active=False)

    with pytest.raises(ProjectInactive):
        make(session, project.id)


def test_what_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        tokens.get(session, UUID(int=7))
    with pytest.raises(NotFound):
        tokens.get(session, UUID(int=7), for_update=True)


# Changing and revoking


def test_a_change_leaves_the_rest_as_it_is(token: Token) -> None:
    tokens.update(token, LATER, longest=LONGEST, label="weekly")

    assert (token.label, token.expires_at, token.is_active, token.max_requests) == ("weekly", NOON + HOUR, True, None)
    assert (token.version, token.updated_at) == (2, LATER)


def test_a_new_life_counts_from_the_change(token: Token) -> None:
    tokens.update(token, LATER, longest=LONGEST, expires_in=LONGEST)

    assert token.expires_at == LATER + LONGEST


@one_database
def test_a_change_obeys_the_rules_of_making(token: Token) -> None:
    for faulty in ({"expires_in": LONGEST + INSTANT}, {"max_requests": 0}, {"label": "\0"}):
        with pytest.raises(Invalid):
            tokens.update(token, LATER, longest=LONGEST, **faulty)


@one_database
def test_no_limit_is_something_else_than_no_change(token: Token) -> None:
    seen = []

    for change in ({"max_requests": 5}, {}, {"max_requests": None}):
        tokens.update(token, LATER, longest=LONGEST, **change)
        seen.append(token.max_requests)

    assert seen == [5, 5, None]


def test_a_token_that_is_off_can_be_switched_on(token: Token) -> None:
    tokens.update(token, LATER, longest=LONGEST, is_active=False)
    was_active = token.is_active
    tokens.update(token, LATER, longest=LONGEST, is_active=True)

    assert (was_active, token.is_active) == (False, True)


def test_a_revoked_token_stays_revoked(token: Token) -> None:
    tokens.revoke(token, NOON)

    with pytest.raises(Conflict):
        tokens.update(token, LATER, longest=LONGEST, is_active=True)
    assert (token.is_active, token.revoked_at, token.version) == (False, NOON, 2)


def test_revoking_again_keeps_the_first_moment(token: Token) -> None:
    tokens.revoke(token, NOON)
    tokens.revoke(token, LATER)

    assert (token.revoked_at, token.updated_at, token.version) == (NOON, NOON, 2)


def test_a_token_that_is_off_can_be_revoked(token: Token) -> None:
    tokens.update(token, NOON, longest=LONGEST, is_active=False)
    tokens.revoke(token, LATER)

    assert token.revoked_at == LATER


# Lists


def test_tokens_are_listed_newest_first_of_one_project_or_all(session: Session, project: Project) -> None:
    other = projects.create(session, RULES, NOON, name="other team", api_key="sk-provider-key-0123")
    first, foreign, last = (make(session, owner)[0] for owner in (project.id, other.id, project.id))

    assert list(tokens.list_page(session, 10, None, now=NOON, project_id=project.id).items) == [last, first]
    assert list(tokens.list_page(session, 10, None, now=NOON).items) == [last, foreign, first]


# At the same time


def test_no_token_slips_into_a_project_that_is_just_being_deleted(sessions: db.Sessions, engine: sa.Engine) -> None:
    with sessions.begin() as session:
        project_id = projects.create(session, RULES, NOON, name="search team", api_key="sk-provider-key-0123").id
    refused: list[type[Exception]] = []
    reading = threading.Event()

    def make_one() -> None:
        try:
            with sessions.begin() as session:
                reading.set()
                make(session, project_id)
        except Exception as error:
            refused.append(type(error))

    with sessions.begin() as session:
        projects.delete(session, LATER, projects.get(session, project_id, for_update=True))
        maker = threading.Thread(target=make_one)
        maker.start()
        reading.wait(10)
        until_it_waits(engine)
    maker.join(10)

    assert refused == [ProjectInactive]


def until_it_waits(engine: sa.Engine) -> None:
    """Wait for somebody to wait for a lock; SQLite takes its lock at the start of a transaction anyway."""
    if engine.dialect.name != "postgresql":
        return
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(10_000):
            if connection.scalar(waiting):
                return
    raise AssertionError("nobody waits")
