"""Rules of lists of one project or token: the newest are found by an index, and not by sorting all that there are."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit_search, db, recent_requests, tokens
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID, one_database

type Look = Callable[[Session], Any]


@one_database
@pytest.mark.parametrize(
    ("look", "index"),
    [
        (lambda session: recent_requests.list_page(session, 10, None, project_id=PROJECT_ID), "project_id_request_id"),
        (lambda session: recent_requests.list_page(session, 10, None, token_id=TOKEN_ID), "token_id_request_id"),
        (lambda session: tokens.list_page(session, 10, None, now=NOW, project_id=PROJECT_ID), "project_id_id"),
        (lambda session: audit_search.list_page(session, 10, None, project_id=PROJECT_ID), "project_id_id"),
    ],
    ids=["requests", "requests of a token", "tokens", "events"],
)
def test_the_newest_are_found_by_an_index(sessions: db.Sessions, look: Look, index: str) -> None:
    asked: list[tuple[str, Any]] = []
    with db.reading(sessions) as session:
        connection = session.connection()

        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            asked.append((statement, parameters))

        sa.event.listen(connection, "before_cursor_execute", note)
        look(session)
        sa.event.remove(connection, "before_cursor_execute", note)
        [(statement, parameters)] = [each for each in asked if each[0].startswith("SELECT")]
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()

    told = " ".join(str(row[-1]) for row in plan)
    assert index in told and "TEMP B-TREE" not in told
