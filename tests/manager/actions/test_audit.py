"""Rules of taking the audit away and verifying it: the first is told in it, the second is for who sees everything."""

import pytest
from flask import Flask, g

from manager.actions import audit as actions
from manager.audit_export import Shape
from manager.errors import Forbidden, Invalid
from manager.principals import Principal, Role, Scope
from manager.tables import AuditEvent
from tests.manager.conftest import PROJECT_ID, Rows, one_database

pytestmark = one_database


def test_what_is_taken_away_is_told_with_what_was_asked_for(app: Flask, rows: Rows) -> None:
    with app.test_request_context():
        g.principal, g.request_id = Principal("Ana", Role.AUDITOR), "r1"

        pieces = list(actions.export(Shape.CSV, {"actor": "Bo", "project_id": PROJECT_ID, "text": None}))

    [event] = rows.all(AuditEvent)
    assert (event.action, event.actor, event.request_id) == ("audit.export", "Ana", "r1")
    assert event.detail == {"format": "csv", "actor": "Bo", "project_id": str(PROJECT_ID)}
    assert len(pieces) == 1 and pieces[0].startswith("position,id,")


def test_nothing_is_told_of_a_faulty_question(app: Flask, rows: Rows) -> None:
    with app.test_request_context(), pytest.raises(Invalid):
        g.principal, g.request_id = Principal("Ana", Role.AUDITOR), "r1"

        actions.export(Shape.JSONL, {"actor": "\0"})

    assert rows.all(AuditEvent) == []


def test_who_sees_some_projects_verifies_nothing(app: Flask) -> None:
    with app.test_request_context(), pytest.raises(Forbidden):
        g.principal, g.request_id = Principal("Ana", Role.ADMIN, Scope(frozenset((PROJECT_ID,)))), "r1"

        actions.verify(None)


@pytest.mark.parametrize("anchor", ["", "x", "1:2:3:4", f"1:{'é' * 64}"])
def test_what_is_no_anchor_is_refused(app: Flask, anchor: str) -> None:
    with app.test_request_context(), pytest.raises(Invalid):
        g.principal, g.request_id = Principal("Ana", Role.AUDITOR), "r1"

        actions.verify(anchor)
