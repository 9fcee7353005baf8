"""Rules of sums over spans: whole days come from the days, and whatever the span, each hour counts once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from manager import db, rollup, usage
from manager.principals import Scope
from manager.tables import DailyUsage, HourlyUsage
from tests.manager.conftest import EVENT, PROJECT_ID

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = 24 * 4


@pytest.fixture
def used(sessions: db.Sessions) -> None:
    """One request in the first hour, two in the second, and so on, for four days."""
    events = [
        replace(EVENT, request_id=f"r{hour}-{number}", occurred_at=FIRST + timedelta(hours=hour, minutes=number))
        for hour in range(HOURS)
        for number in range(hour % 7 + 1)
    ]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])


def count(sessions: db.Sessions, since: datetime | None, until: datetime | None, *groups: str) -> list[int]:
    with db.reading(sessions) as session:
        found = usage.summed(session, groups, 1000, since, until, project_id=PROJECT_ID)
    return [item["requests"] for item in found.items]


def expected(since: datetime | None, until: datetime | None) -> int:
    moments = [(FIRST + timedelta(hours=hour), hour % 7 + 1) for hour in range(HOURS)]
    return sum(many for moment, many in moments if (since or FIRST) <= moment and (until is None or moment < until))


SPANS = [
    (None, None),
    (0, 96),
    (24, 72),
    (1, 95),
    (25, 47),
    (30, 31),
    (24, 25),
    (23, 24),
    (0, 24),
    (12, None),
    (None, 50),
]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(("first", "last"), SPANS)
def test_every_span_counts_each_hour_once(sessions: db.Sessions, first: int | None, last: int | None) -> None:
    since = None if first is None else FIRST + timedelta(hours=first)
    until = None if last is None else FIRST + timedelta(hours=last)

    assert count(sessions, since, until) == [expected(since, until)]
    assert (
        sum(count(sessions, since, until, "day"))
        == sum(count(sessions, since, until, "hour"))
        == expected(since, until)
    )


@pytest.mark.usefixtures("used")
def test_whole_days_are_not_summed_up_from_hours(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(HourlyUsage).where(HourlyUsage.hour < FIRST + timedelta(days=2)))

    until = FIRST + timedelta(days=3, hours=5)
    assert count(sessions, FIRST, until) == [expected(FIRST, until)]


@pytest.mark.usefixtures("used")
def test_hours_are_never_made_of_days(sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(DailyUsage))

    assert len(count(sessions, FIRST, FIRST + timedelta(days=2), "hour")) == 48


@pytest.mark.usefixtures("used")
def test_a_zone_of_one_s_own_changes_nothing(sessions: db.Sessions) -> None:
    since = datetime.fromisoformat("2026-03-02T01:00:00+01:00")

    assert count(sessions, since, None) == [expected(since, None)]


def test_what_cost_most_comes_first_and_then_what_was_asked_for_most(sessions: db.Sessions) -> None:
    made = [("cheap", 5, 1), ("dear", 1, 100), ("free", 9, 0), ("often", 3, 0), ("rare", 1, 0)]
    with sessions.begin() as session:
        for model, count, cost in made:
            row = rollup.request_row(replace(EVENT, model=model, occurred_at=FIRST))
            entries = [row | {"request_id": f"{model}{number}", "cost_nano_usd": cost} for number in range(count)]
            rollup.record(session, entries)

    with db.reading(sessions) as session:
        found = usage.most(session, "model", 4, FIRST, FIRST + timedelta(days=1))
        nothing = usage.most(session, "model", 4, FIRST, FIRST + timedelta(days=1), Scope(frozenset()))

    assert [(item["model"], item["requests"], item["cost"]) for item in found] == [
        ("dear", 1, 100),
        ("cheap", 5, 5),
        ("free", 9, 0),
        ("often", 3, 0),
    ]
    assert nothing == []
