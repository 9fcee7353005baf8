"""Rules of forgetting: single requests go after the retention time, in short transactions; sums stay."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from manager import db, rollup
from manager.janitor import BATCH, forget_requests
from manager.tables import HourlyUsage, Request
from tests.manager.conftest import EVENT, NOW, Rows, numbered

WEEK = timedelta(days=7)


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
