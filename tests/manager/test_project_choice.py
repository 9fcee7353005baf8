"""Rules of choosing a project: by its exact name or its id, within a scope."""

from uuid import uuid4

import pytest

from manager import db, project_choice
from manager.errors import NotFound
from manager.principals import Scope
from tests.manager.conftest import Rows


def test_a_project_is_found_by_its_id_or_by_its_exact_name(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project(name="search team")

    with db.reading(sessions) as session:
        for text in ("search team", " search team ", str(project.id), str(project.id).upper()):
            assert project_choice.find(session, text) == project.id
        for text in ("Search team", "search", "", str(uuid4()), "a\0b", "\ud800"):
            with pytest.raises(NotFound):
                project_choice.find(session, text)


def test_a_project_out_of_scope_is_not_found(sessions: db.Sessions, rows: Rows) -> None:
    project, other = rows.project(name="search team"), rows.project(name="other team")

    with db.reading(sessions) as session:
        scope = Scope(frozenset({other.id}))
        for text in ("search team", str(project.id)):
            with pytest.raises(NotFound):
                project_choice.find(session, text, scope)
        assert project_choice.find(session, "other team", scope) == other.id


def test_a_name_that_reads_like_an_id_is_a_name(sessions: db.Sessions, rows: Rows) -> None:
    name = str(uuid4())
    project = rows.project(name=name)

    with db.reading(sessions) as session:
        assert project_choice.find(session, name) == project.id
