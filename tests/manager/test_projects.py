"""Rules of projects, without HTTP: names, keys and base URLs that are taken, and what each change leaves behind."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from manager import db, projects, tokens
from manager.errors import Conflict, Invalid, NotFound
from manager.rules import Rules
from manager.tables import Project
from shared import providers
from shared.sealing import Keyring, generate_key

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
PROVIDER_KEY = "sk-proj-the-real-provider-key-0123"
STRICT = Rules(Keyring.parse(f"k1:{generate_key()}"), providers.load(), allow_http_upstream=False)

# For rules in which the database plays no part.
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def session(sessions: db.Sessions) -> Iterator[Session]:
    """A session that never commits."""
    with sessions() as opened:
        yield opened


@pytest.fixture
def project(session: Session) -> Project:
    """A project as it was made at noon."""
    return projects.create(session, STRICT, NOON, name="search team", api_key=PROVIDER_KEY)


def key_of(project: Project) -> str:
    [key] = project.keys
    return STRICT.keyring.open(key.sealed, f"upstream_keys:{key.id}")


def refusal(field: str, value: Any, session: Session, project: Project, rules: Rules = STRICT) -> str:
    """Why a change is refused."""
    with pytest.raises(Invalid) as refused:
        projects.update(session, rules, LATER, project, **{field: value})
    assert refused.value.field == field
    return str(refused.value)


# Keys


@one_database
@pytest.mark.parametrize(
    "key", ["12345678", "x" * 4096, PROVIDER_KEY, "sk-llm-not-one-of-ours", "a..b**cd"], ids=lambda key: key[:12]
)
def test_a_provider_key_is_any_printable_ascii(session: Session, project: Project, key: str) -> None:
    projects.update(session, STRICT, LATER, project, api_key=key)

    assert key_of(project) == key


@one_database
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("1234567", "8 to 4096"),
        ("x" * 4097, "8 to 4096"),
        ("with space", "ASCII"),
        ("trailing\n", "ASCII"),
        ("nul\0nul\0nul", "ASCII"),
        ("clé-clé-clé", "ASCII"),
        ("sk-p****0123", "masked"),
        ("sk-proj...0123", "masked"),
        ("sk-llmp-****xQ7w", "masked"),
        ("sk-llmp-000A7dl5PEW67zZCpFU9uKaHnGgOvQKAR2eahrm", "secret of this service"),
    ],
    ids=["short", "long", "space", "newline", "nul", "accents", "mask", "dots", "masked token", "token"],
)
def test_what_cannot_be_a_provider_key_is_refused_and_not_quoted(
    session: Session, project: Project, key: str, reason: str
) -> None:
    told = refusal("api_key", key, session, project)

    assert reason in told and key not in told and key_of(project) == PROVIDER_KEY


# Base URLs


@one_database
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("", ""),
        ("  ", ""),
        ("/", ""),
        ("https://eu.example.org", "https://eu.example.org"),
        (" https://eu.example.org/ ", "https://eu.example.org"),
        ("https://eu.example.org:8443/llm/v2//", "https://eu.example.org:8443/llm/v2"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_a_base_url_is_https_or_loopback(session: Session, project: Project, url: str, kept: str) -> None:
    projects.update(session, STRICT, LATER, project, base_url=url)

    assert project.base_url == kept


@one_database
@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "http://10.0.0.1",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.1",
        "http://0.0.0.0",
        "http://[::2]",
        "HTTP://localhost",
        "ftp://example.org",
        "//example.org",
        "javascript:alert(1)",
        "https://",
        "https://user:password@example.org",
        "https://example.org?a=b",
        "https://example.org/#top",
        "https://example.org:99999",
        "https://[::1",
        "https://exämple.org",
        "https://example.org/\0",
        "https://example.org" + "/a" * 1100,
    ],
    ids=lambda url: ascii(url)[:40],
)
def test_any_other_base_url_is_refused(session: Session, project: Project, url: str) -> None:
    assert refusal("base_url", url, session, project)
    assert project.base_url == ""


@one_database
@pytest.mark.parametrize("url", ["http://example.org", "http://10.0.0.1:8000", "http://localhost"])
def test_http_is_taken_from_anywhere_if_the_operator_allows_it(session: Session, project: Project, url: str) -> None:
    projects.update(session, replace(STRICT, allow_http_upstream=True), LATER, project, base_url=url)

    assert project.base_url == url


@one_database
def test_allowing_http_allows_nothing_else(session: Session, project: Project) -> None:
    relaxed = replace(STRICT, allow_http_upstream=True)

    assert refusal("base_url", "ftp://example.org", session, project, relaxed)


@one_database
@pytest.mark.parametrize(
    ("base_url", "fallbacks"),
    [
        ("", ["https://api.openai.com/"]),
        ("https://eu.example.org", ["https://us.example.org", "https://eu.example.org"]),
    ],
    ids=["the provider's", "its own"],
)
def test_what_is_down_is_not_its_own_fallback(session: Session, base_url: str, fallbacks: list[str]) -> None:
    wanted = {"name": "search team", "api_key": PROVIDER_KEY, "base_url": base_url, "fallback_urls": fallbacks}

    with pytest.raises(Invalid, match="base URL itself") as refused:
        projects.create(session, STRICT, NOON, **wanted)

    assert refused.value.field == "fallback_urls"


@one_database
def test_a_fallback_cannot_become_the_base_url_unless_it_is_taken_off(session: Session, project: Project) -> None:
    projects.update(session, STRICT, LATER, project, fallback_urls=["https://eu.example.org"])

    with pytest.raises(Invalid):
        projects.update(session, STRICT, LATER, project, base_url="https://eu.example.org")
    projects.update(session, STRICT, LATER, project, base_url="https://eu.example.org", fallback_urls=[])

    assert projects.base_urls(project, STRICT) == ["https://eu.example.org"]


@one_database
def test_a_project_whose_provider_is_gone_has_only_its_own_urls(session: Session, project: Project) -> None:
    without = replace(STRICT, table=providers.ProviderTable({}))

    assert projects.base_urls(project, without) == []
    projects.update(session, without, LATER, project, fallback_urls=["https://eu.example.org"])
    assert projects.base_urls(project, without) == ["https://eu.example.org"]


@one_database
def test_unknown_features_are_refused_with_the_known_ones(session: Session, project: Project) -> None:
    assert "retries" in refusal("features", {"unheard_of": True}, session, project)


# Making


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_project_is_made_for_a_provider_of_the_table(session: Session, provider: str) -> None:
    made = projects.create(session, STRICT, NOON, name="search team", api_key=PROVIDER_KEY, provider=provider)

    assert projects.get(session, made.id) is made
    assert (made.provider, made.is_active, made.version, made.published_version) == (provider, True, 1, 0)
    assert (made.created_at, made.updated_at, made.deactivated_at) == (NOON, NOON, None)


@one_database
@pytest.mark.parametrize("provider", ["", "OpenAI", "nobody"])
def test_an_unknown_provider_is_refused_with_the_known_ones(session: Session, provider: str) -> None:
    with pytest.raises(Invalid, match="anthropic, openai") as refused:
        projects.create(session, STRICT, NOON, name="search team", api_key=PROVIDER_KEY, provider=provider)

    assert refused.value.field == "provider"


def test_a_name_is_taken_once(session: Session, project: Project) -> None:
    with pytest.raises(Conflict):
        projects.create(session, STRICT, NOON, name=" search team ", api_key=PROVIDER_KEY)


def test_names_that_differ_in_case_are_different(session: Session, project: Project) -> None:
    assert projects.create(session, STRICT, NOON, name="Search Team", api_key=PROVIDER_KEY).id != project.id


def test_a_sealed_key_opens_in_its_own_row_only(session: Session, project: Project) -> None:
    other = projects.create(session, STRICT, NOON, name="other", api_key=PROVIDER_KEY)

    assert key_of(project) == key_of(other) and project.keys[0].sealed != other.keys[0].sealed


def test_what_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        projects.get(session, UUID(int=7))
    with pytest.raises(NotFound):
        projects.get(session, UUID(int=7), for_update=True)


# Changing and deleting


def test_each_change_counts_as_a_version(session: Session, project: Project) -> None:
    projects.update(session, STRICT, LATER, project, name="find team")
    projects.update(session, STRICT, LATER, project, is_active=False)

    assert (project.name, project.version, project.created_at, project.updated_at) == ("find team", 3, NOON, LATER)


def test_a_replaced_key_is_gone(session: Session, project: Project) -> None:
    projects.update(session, STRICT, LATER, project, api_key="sk-another-key-4567")
    session.expire_all()

    assert key_of(project) == "sk-another-key-4567"


def test_it_is_remembered_since_when_a_project_is_off(session: Session, project: Project) -> None:
    projects.update(session, STRICT, NOON, project, is_active=False)
    projects.update(session, STRICT, LATER, project, is_active=False)
    since = project.deactivated_at
    projects.update(session, STRICT, LATER, project, is_active=True)

    assert (since, project.deactivated_at) == (NOON, None)


def test_deleting_revokes_what_was_not_revoked_before(session: Session, project: Project) -> None:
    wanted: dict[str, Any] = {"expires_in": timedelta(hours=1), "longest": timedelta(days=1)}
    early, late = (tokens.create(session, b"pepper", NOON, project_id=project.id, **wanted)[0] for _ in range(2))
    tokens.revoke(early, NOON)
    session.flush()

    revoked = projects.delete(session, LATER, project)
    session.expire_all()

    assert [(row.is_active, row.revoked_at, row.version) for row in (early, late)] == [
        (False, NOON, 2),
        (False, LATER, 2),
    ]
    assert (list(revoked), project.is_active, project.deactivated_at, project.version) == ([late.id], False, LATER, 2)


def test_projects_are_listed_newest_first(session: Session, project: Project) -> None:
    newer = projects.create(session, STRICT, NOON, name="newer", api_key=PROVIDER_KEY)

    assert list(projects.list_page(session, 10, None).items) == [newer, project]
