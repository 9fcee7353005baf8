"""Rules of a project's figures: this month's use of several in one question, and what would break without one."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from manager import db, project_figures, rollup
from manager.project_figures import Stakes, Use
from manager.tables import new_id
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, Rows

OTHER = UUID("018f0000-0000-7000-8000-0000000000ff")


def use(sessions: db.Sessions, *projects: UUID, days_ago: int = 0, cost: int | None = 7) -> None:
    """One request of each project, which cost as much."""
    moment = NOW - timedelta(days=days_ago)
    events = [
        replace(EVENT, request_id=str(new_id()), project_id=str(project), occurred_at=moment) for project in projects
    ]
    costs = [{**rollup.request_row(event), "cost_nano_usd": cost} for event in events]
    db.transact(sessions, lambda session: rollup.record(session, costs))


def test_the_month_of_several_projects_is_told_at_once(sessions: db.Sessions) -> None:
    use(sessions, PROJECT_ID, PROJECT_ID, OTHER)
    use(sessions, PROJECT_ID, days_ago=3, cost=5)
    use(sessions, PROJECT_ID, OTHER, days_ago=4)

    with db.reading(sessions) as session:
        found = project_figures.months(session, NOW, [PROJECT_ID, new_id()])

    # The fourth of May: four days ago it was April.
    assert found == {PROJECT_ID: Use(requests=3, prompt_tokens=30, completion_tokens=60, cost=19)}


def test_a_cost_that_nobody_knows_is_not_nothing(sessions: db.Sessions) -> None:
    use(sessions, PROJECT_ID, cost=None)

    with db.reading(sessions) as session:
        assert project_figures.months(session, NOW, [PROJECT_ID]) == {PROJECT_ID: Use(1, 10, 20, None, 1)}
        assert project_figures.months(session, NOW, []) == {}


def test_a_month_is_told_by_day(sessions: db.Sessions) -> None:
    use(sessions, PROJECT_ID, OTHER)
    use(sessions, PROJECT_ID, days_ago=2, cost=5)
    use(sessions, PROJECT_ID, days_ago=4)

    with db.reading(sessions) as session:
        days = project_figures.days(session, NOW, PROJECT_ID)

    assert [(day.day, use.requests, use.cost) for day, use in days.items()] == [(2, 1, 5), (4, 1, 7)]


def test_sums_know_whether_they_know_all() -> None:
    known, unknown = Use(2, 10, 20, 5, 0), Use(1, 1, 2, None, 1)

    assert project_figures.total([known, unknown, known]) == Use(5, 21, 42, 10, 1)
    assert project_figures.total([unknown]) == unknown
    assert project_figures.total([]) == Use()


def test_at_stake_are_tokens_that_work_and_what_was_asked_lately(rows: Rows, sessions: db.Sessions) -> None:
    project, other = rows.project(id=PROJECT_ID), rows.project(name="other")
    rows.token(project, expires_at=NOW + timedelta(hours=1), digest="a")
    rows.token(project, expires_at=NOW - timedelta(hours=1), digest="b")
    rows.token(project, expires_at=NOW + timedelta(hours=1), digest="c", revoked_at=NOW, is_active=False)
    rows.token(other, expires_at=NOW + timedelta(hours=1), digest="d")
    use(sessions, PROJECT_ID, PROJECT_ID, OTHER)
    use(sessions, PROJECT_ID, days_ago=2)

    with db.reading(sessions) as session:
        assert project_figures.stakes(session, NOW, PROJECT_ID) == Stakes(active_tokens=1, requests_of_day=2)
