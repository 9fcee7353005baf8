"""Rules of pages: every row once, newest first, whatever comes and goes; and no cursor but the list's own."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db
from manager.errors import Invalid
from manager.pages import Page, order, page, sorted_page
from manager.tables import Project, Request, Token

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def session(sessions: db.Sessions) -> Iterator[Session]:
    """A session that never commits."""
    with sessions() as opened:
        yield opened


def add(session: Session, *numbers: int) -> None:
    """Projects whose ids are their numbers."""
    for number in numbers:
        named = {"name": f"team {number}", "provider": "openai", "created_at": NOON, "updated_at": NOON}
        session.add(Project(id=UUID(int=number), **named))
    session.flush()


def shown(session: Session, limit: int, cursor: str | None = None) -> Page[Any]:
    return page(session, sa.select(Project), Project.id, limit, cursor)


def numbers(found: Page[Any]) -> list[int]:
    return [row.id.int for row in found.items]


def encoded(text: str) -> str:
    """A cursor that says this, and bears out what it says."""
    check = hashlib.sha256(text.encode()).hexdigest()[:8]
    return base64.urlsafe_b64encode(f"{check}{text}".encode()).decode().rstrip("=")


@pytest.mark.parametrize("limit", range(1, 9))
def test_pages_of_any_size_show_every_row_once(session: Session, limit: int) -> None:
    add(session, 3, 1, 7, 5, 2, 6, 4)
    seen, sizes, cursor = [], [], None

    while cursor is not None or not sizes:
        found = shown(session, limit, cursor)
        seen += numbers(found)
        sizes.append(len(found.items))
        cursor = found.next_cursor

    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert sizes == [limit] * (7 // limit) + [7 % limit] * (7 % limit > 0)


def test_an_empty_list_has_one_empty_page(session: Session) -> None:
    assert shown(session, 5) == Page([], None)


def test_a_list_that_just_fits_has_no_next_page(session: Session) -> None:
    add(session, 1, 2)

    assert shown(session, 2).next_cursor is None and shown(session, 1).next_cursor is not None


def test_rows_that_come_and_go_shift_nothing(session: Session) -> None:
    add(session, 1, 2, 3, 5, 6)
    first = shown(session, 2)
    add(session, 7)
    session.execute(sa.delete(Project).where(Project.id.in_([UUID(int=5), UUID(int=6)])))

    assert numbers(first) == [6, 5]
    assert numbers(shown(session, 2, first.next_cursor)) == [3, 2]


def test_a_cursor_is_safe_in_a_url(session: Session) -> None:
    add(session, *range(1, 60))
    cursors = [shown(session, size).next_cursor for size in range(1, 59)]

    assert not [cursor for cursor in cursors if not cursor or not cursor.replace("-", "").replace("_", "").isalnum()]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "é",
        "\0",
        "\ud800",
        "A" * 199,
        encoded("1"),
        encoded(f'Token.id:-id:["{UUID(int=5)}"]'),
        encoded(f'Project.id:id:["{UUID(int=5)}"]'),
        encoded(f'Project.id:-id:["{UUID(int=5).hex}"]'),
        encoded(f'Project.id:-id:["{UUID(int=5)}"] '),
        encoded(f'Project.id:-id:["{UUID(int=5)}", 1]'),
        encoded("Project.id:-id:[null]"),
        encoded("Project.id:-id:[]"),
        encoded("Project.id:-id:5"),
        encoded("Project.id:-id:"),
        encoded(f'Project.id:-id:["{UUID(int=5)}"]') + "=",
        "!" + encoded(f'Project.id:-id:["{UUID(int=5)}"]'),
        base64.urlsafe_b64encode(b"01234567Project.id:\xff").decode(),
    ],
    ids=lambda cursor: ascii(cursor)[:60],
)
def test_a_cursor_that_did_not_come_from_here_is_refused(session: Session, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        shown(session, 5, cursor)

    assert refused.value.field == "cursor"


@pytest.mark.parametrize("text", ['Request.request_id:-request_id:["a\\u0000b"]', 'Project.id:-id:["abc"]'], ids=ascii)
def test_a_cursor_of_text_is_text_that_any_database_takes(session: Session, text: str) -> None:
    with pytest.raises(Invalid):
        page(session, sa.select(Request), Request.request_id, 5, encoded(text))


def test_a_cursor_opens_its_own_list_only(session: Session) -> None:
    add(session, 1, 2)
    cursor = shown(session, 1).next_cursor

    assert numbers(shown(session, 1, cursor)) == [1]
    with pytest.raises(Invalid):
        page(session, sa.select(Token), Token.id, 1, cursor)


# Other orders

COLUMNS = {
    "created_at": None,
    "name": Project.name,
    "deactivated_at": Project.deactivated_at,
    "version": Project.version,
}
# Number, name, minutes until it was switched off, version.
TEAMS = [(1, "b", None, 3), (2, "a", 5, 3), (3, "Z", None, 1), (4, "ä", 1, 2), (5, "a b", 5, 3), (6, "B", 9, 1)]


def add_teams(session: Session) -> None:
    for number, name, minutes, version in TEAMS:
        off = None if minutes is None else NOON + timedelta(minutes=minutes)
        more = {"provider": "openai", "created_at": NOON, "updated_at": NOON, "deactivated_at": off}
        session.add(Project(id=UUID(int=number), name=name, version=version, **more))
    session.flush()


def sorted_numbers(session: Session, sort: str, limit: int) -> list[int]:
    seen, cursor = [], None
    while cursor is not None or not seen:
        found = sorted_page(session, sa.select(Project), Project.id, order(sort, COLUMNS), limit, cursor)
        seen += numbers(found)
        cursor = found.next_cursor
    return seen


@pytest.mark.parametrize("limit", [1, 2, 4, 6])
@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("created_at", [1, 2, 3, 4, 5, 6]),
        ("name", [6, 3, 2, 5, 1, 4]),
        ("deactivated_at", [1, 3, 4, 2, 5, 6]),
        ("version", [3, 6, 4, 1, 2, 5]),
    ],
)
def test_any_order_shows_every_row_once_forth_and_back(
    session: Session, sort: str, expected: list[int], limit: int
) -> None:
    add_teams(session)

    assert sorted_numbers(session, sort, limit) == expected
    assert sorted_numbers(session, f"-{sort}", limit) == expected[::-1]


def test_a_cursor_opens_its_own_order_only(session: Session) -> None:
    add_teams(session)
    wanted = order("name", COLUMNS)
    cursor = sorted_page(session, sa.select(Project), Project.id, wanted, 2, None).next_cursor

    for other in ("-name", "version", "created_at"):
        with pytest.raises(Invalid):
            sorted_page(session, sa.select(Project), Project.id, order(other, COLUMNS), 2, cursor)


def test_a_cursor_that_was_tampered_with_is_refused(session: Session) -> None:
    add_teams(session)
    wanted = order("version", COLUMNS)
    cursor = sorted_page(session, sa.select(Project), Project.id, wanted, 2, None).next_cursor or ""

    for place in range(len(cursor)):
        tampered = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(Invalid):
            sorted_page(session, sa.select(Project), Project.id, wanted, 2, tampered)


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("version", str(2**63)),
        ("version", str(-(2**70))),
        ("version", "1.5"),
        ("deactivated_at", '"0001-01-01T00:00:00+14:00"'),
        ("deactivated_at", '"9999-12-31T23:59:59.999999-14:00"'),
        ("deactivated_at", '"2026-03-01T12:00:00"'),
        ("deactivated_at", '"2026-03-01T12:00:00+01:00"'),
        ("name", '"\\ud800"'),
    ],
)
def test_a_cursor_at_a_place_that_no_database_knows_is_refused(session: Session, sort: str, value: str) -> None:
    cursor = encoded(f'Project.id:{sort}:[{value},"{UUID(int=5)}"]')

    with pytest.raises(Invalid) as refused:
        sorted_page(session, sa.select(Project), Project.id, order(sort, COLUMNS), 2, cursor)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize("sort", ["", "-", "nothing", "--name", "name ", "+name"])
def test_an_order_that_a_list_does_not_have_is_refused(sort: str) -> None:
    with pytest.raises(Invalid) as refused:
        order(sort, COLUMNS)

    assert refused.value.field == "sort"
