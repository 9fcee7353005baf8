"""Rules of names: of many at once, and what is not there has none."""

from manager import db, names
from manager.names import Names
from manager.tables import new_id
from tests.manager.conftest import Rows


def test_projects_and_tokens_are_named_together(rows: Rows, sessions: db.Sessions) -> None:
    search, chat = rows.project(name="search"), rows.project(name="chat")
    token = rows.token(search, label="nightly")

    with db.reading(sessions) as session:
        found = names.of(session, [search.id, chat.id, search.id], [token.id, new_id()])

    assert found == Names({search.id: "search", chat.id: "chat"}, {token.id: "nightly"})


def test_of_nothing_nothing_is_asked(sessions: db.Sessions) -> None:
    with db.reading(sessions) as session:
        assert names.of(session) == Names()
