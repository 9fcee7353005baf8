"""Rules of forgetting: single requests go after the retention time, in short transactions; sums stay."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from manager import db, rollup
from manager.export import Shipped
from manager.janitor import BATCH, PROJECTS, forget_activity, forget_answers, forget_requests, forget_tokens
from manager.tables import Activity, HourlyUsage, IdempotentAnswer, Request, Token
from tests.manager.conftest import EVENT, NOW, Rows, numbered

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


def record(sessions: db.Sessions, *ages: timedelta) -> None:
    """Record one request of each age; its id is its place in the row."""
    events = [replace(EVENT, request_id=f"r{place}", occurred_at=NOW - age) for place, age in enumerate(ages, start=1)]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])


def test_only_requests_older_than_the_retention_time_are_forgotten(sessions: db.Sessions, rows: Rows) -> None:
    moment = timedelta(microseconds=1)
    record(sessions, WEEK + moment, WEEK, WEEK - moment, timedelta(0))

    forgotten = forget_requests(sessions, NOW, WEEK)

    assert forgotten == 1
    assert [row.request_id for row in rows.all(Request)] == ["r2", "r3", "r4"]


def test_sums_stay(sessions: db.Sessions, rows: Rows) -> None:
    record(sessions, 2 * WEEK, 2 * WEEK)

    assert forget_requests(sessions, NOW, WEEK) == 2
    assert [row.requests for row in rows.all(HourlyUsage)] == [2]


def test_nothing_to_forget_is_fine(sessions: db.Sessions) -> None:
    assert forget_requests(sessions, NOW, WEEK) == 0


@pytest.mark.parametrize(("count", "transactions"), [(BATCH - 1, 1), (BATCH + 1, 2)])
def test_many_requests_are_forgotten_in_several_transactions(
    engine: sa.Engine, sessions: db.Sessions, rows: Rows, count: int, transactions: int
) -> None:
    with sessions.begin() as session:
        session.execute(sa.insert(Request), [rollup.request_row(event) for event in numbered(count)])
    commits: list[object] = []
    sa.event.listen(engine, "commit", commits.append)

    forgotten = forget_requests(sessions, NOW + 2 * WEEK, WEEK)

    assert (forgotten, rows.all(Request), len(commits)) == (count, [], transactions)


def test_what_the_export_has_not_had_yet_is_kept_for_twice_as_long(sessions: db.Sessions, rows: Rows) -> None:
    record(sessions, 2 * WEEK + HOUR, WEEK + HOUR, WEEK + HOUR, WEEK + HOUR, HOUR)
    for request_id, recorded_at in (("r1", NOW), ("r2", NOW), ("r3", NOW - HOUR), ("r4", None)):
        with sessions.begin() as session:
            query = sa.update(Request).where(Request.request_id == request_id)
            session.execute(query.values(recorded_at=recorded_at))

    with capture_logs() as logged:
        forgotten = forget_requests(sessions, NOW, WEEK, Shipped(f"{(NOW - HOUR).isoformat()}|r3"))

    assert forgotten == 3
    assert [row.request_id for row in rows.all(Request)] == ["r2", "r5"]
    assert [(entry["event"], entry["requests"]) for entry in logged] == [("retention_waits_for_export", 1)]


def test_before_the_first_export_nothing_counts_as_shipped(sessions: db.Sessions) -> None:
    record(sessions, WEEK + HOUR, 2 * WEEK + HOUR)

    assert forget_requests(sessions, NOW, WEEK, Shipped()) == 1


# Activity


def test_minutes_and_hours_of_every_project_are_forgotten_in_several_transactions(
    engine: sa.Engine, sessions: db.Sessions, rows: Rows
) -> None:
    projects = [rows.project(name=f"team {number}") for number in range(PROJECTS + 1)]
    events = [
        replace(EVENT, request_id=f"{age}-{project.id}", project_id=str(project.id), occurred_at=NOW - age * WEEK)
        for project in projects
        for age in (1, 10)
    ]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])
    before = len(rows.all(Activity))
    commits: list[object] = []
    sa.event.listen(engine, "commit", commits.append)

    forgotten = forget_activity(sessions, NOW)

    found: list[tuple[str, int]] = [(row.unit, (NOW - row.moment) // WEEK) for row in rows.all(Activity)]
    assert set(found) == {("hour", 1), ("day", 1), ("day", 10)}
    assert (forgotten, len(commits)) == (before - len(found), 2)
    assert forget_activity(sessions, NOW) == 0


# Answers and tokens


def test_answers_are_forgotten_after_their_day(sessions: db.Sessions, rows: Rows) -> None:
    for number, age in enumerate((timedelta(hours=25), timedelta(hours=23))):
        columns = {"principal": "ops", "key": f"{number}", "fingerprint": "f", "status": 201, "sealed": "s"}
        rows.add(IdempotentAnswer(**columns, created_at=NOW - age))

    assert forget_answers(sessions, NOW) == 1
    assert [row.key for row in rows.all(IdempotentAnswer)] == ["1"]


def test_tokens_go_when_they_expired_long_ago_and_it_is_told_whose_they_were(sessions: db.Sessions, rows: Rows) -> None:
    ours, theirs = rows.project(name="ours"), rows.project(name="theirs")
    for number, (project, days) in enumerate([(ours, 91), (ours, 92), (theirs, 91), (theirs, 89), (ours, -1)]):
        rows.token(project, digest=f"d{number}", expires_at=NOW - timedelta(days=days))

    report = forget_tokens(sessions, NOW, timedelta(days=90))

    assert report == {
        "tokens": 3,
        "projects": {str(ours.id): {"name": "ours", "tokens": 2}, str(theirs.id): {"name": "theirs", "tokens": 1}},
    }
    assert [token.digest for token in rows.all(Token)] == ["d3", "d4"]
    assert forget_tokens(sessions, NOW, timedelta(days=90)) == {"tokens": 0, "projects": {}}


def test_tokens_stay_as_long_as_redis_knows_them(sessions: db.Sessions, rows: Rows) -> None:
    rows.token(rows.project(), expires_at=NOW - timedelta(days=6))

    assert forget_tokens(sessions, NOW, timedelta(days=1))["tokens"] == 0


def test_a_token_that_was_given_a_new_life_meanwhile_stays(
    engine: sa.Engine, sessions: db.Sessions, rows: Rows
) -> None:
    token = rows.token(rows.project(), expires_at=NOW - timedelta(days=91))
    statement = sa.update(Token).where(Token.id == token.id).values(expires_at=NOW + timedelta(days=1))
    pending = [statement]

    def revive(connection: sa.Connection, _: object, text: str, *__: object) -> None:
        if pending and text.startswith("DELETE FROM tokens"):
            connection.execute(pending.pop())

    sa.event.listen(engine, "before_cursor_execute", revive)

    assert forget_tokens(sessions, NOW, timedelta(days=90))["tokens"] == 0
    assert rows.fresh(token).expires_at == NOW + timedelta(days=1)
