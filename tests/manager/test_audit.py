"""Rules of the audit: written with what it tells of or not at all, cuts once each, and times that always fit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from manager import audit, db, rollup
from manager.audit import Action, Source
from manager.tables import AuditEvent, Request
from shared.models import Outcome, UsageEvent
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, TOKEN_ID, Rows

OPERATOR = Source("management", "ticket-42")
CUT = replace(EVENT, outcome=Outcome.CUT, error_code="token_inactive")

type Record = Callable[..., int]


@pytest.fixture
def record(sessions: db.Sessions) -> Record:
    """Records usage events in one transaction, as the collector does."""

    def run(*events: UsageEvent) -> int:
        with sessions.begin() as session:
            return rollup.record(session, [rollup.request_row(event) for event in events])

    return run


def test_an_event_is_kept_as_it_was_noted(sessions: db.Sessions, rows: Rows) -> None:
    with sessions.begin() as session:
        detail = {"revoked_tokens": 3, "name": "équipe 😀"}
        audit.note(session, NOW, OPERATOR, Action.PROJECT_DELETE, project_id=PROJECT_ID, detail=detail)

    [event] = rows.all(AuditEvent)
    assert (event.occurred_at, event.action, event.actor, event.outcome) == (
        NOW,
        "project.delete",
        "management",
        "success",
    )
    assert (event.project_id, event.token_id, event.request_id, event.detail) == (PROJECT_ID, None, "ticket-42", detail)


def test_what_is_rolled_back_was_never_noted(sessions: db.Sessions, rows: Rows) -> None:
    with pytest.raises(ZeroDivisionError), sessions.begin() as session:
        audit.note(session, NOW, OPERATOR, Action.TOKEN_REVOKE, token_id=TOKEN_ID)
        raise ZeroDivisionError

    assert rows.all(AuditEvent) == []


def test_a_cut_stream_is_noted_with_what_cut_it_when_it_ended(record: Record, rows: Rows) -> None:
    record(CUT)

    [event] = rows.all(AuditEvent)
    assert (event.action, event.actor, event.request_id) == ("stream.cut", "data-plane", "r1")
    assert (event.project_id, event.token_id) == (PROJECT_ID, TOKEN_ID)
    assert event.occurred_at == NOW + timedelta(milliseconds=812.5)
    assert event.detail == {"code": "token_inactive", "route": "chat.completions", "model": "gpt-5-mini"}


def test_a_cut_stream_is_noted_once_however_often_it_is_collected(record: Record, rows: Rows) -> None:
    record(CUT, CUT)
    record(CUT)
    record(CUT, replace(CUT, request_id="r2", model=None))

    assert [(event.request_id, event.detail["model"]) for event in rows.all(AuditEvent)] == [
        ("r1", "gpt-5-mini"),
        ("r2", None),
    ]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.CUT])
def test_what_ended_otherwise_is_not_noted(record: Record, rows: Rows, outcome: Outcome) -> None:
    record(replace(EVENT, outcome=outcome))

    assert rows.all(AuditEvent) == []


def test_a_cut_is_noted_together_with_its_request_or_not_at_all(sessions: db.Sessions, rows: Rows) -> None:
    with pytest.raises(ZeroDivisionError), sessions.begin() as session:
        rollup.record(session, [rollup.request_row(CUT)])
        raise ZeroDivisionError

    assert [*rows.all(AuditEvent), *rows.all(Request)] == []


@pytest.mark.parametrize("milliseconds", [1e300, float("nan"), float("inf")])
def test_a_duration_without_sense_leaves_the_time_of_arrival(milliseconds: float) -> None:
    assert audit.end_of({"occurred_at": NOW, "duration_ms": milliseconds}) == NOW
