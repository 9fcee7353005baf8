"""Rules of sums for charts: by moment and bucket, of what is in scope, with percentiles of each moment and of all."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from manager import activity, db, histogram, rollup
from manager.activity import Measure, Range, Unit
from manager.principals import EVERYTHING, Scope
from manager.tables import Activity
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, Rows

OTHER, THIRD = (UUID(f"018f0000-0000-7000-8000-0000000000{last}") for last in ("fe", "ff"))
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def used(sessions: db.Sessions) -> None:
    """In the first hour one request of each of three projects, in the second two, and so on, for two days."""
    events = [
        replace(
            EVENT,
            request_id=f"{project_id}-{hour}-{number}",
            project_id=str(project_id),
            occurred_at=FIRST + timedelta(hours=hour, minutes=number),
            status=200 if number % 5 else 503,
        )
        for project_id in (PROJECT_ID, OTHER, THIRD)
        for hour in range(48)
        for number in range(hour + 1)
    ]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])


def series(
    sessions: db.Sessions,
    unit: Unit = Unit.HOUR,
    measure: Measure = Measure.OUTCOME,
    since: datetime = FIRST,
    until: datetime = FIRST + 2 * DAY,
    scope: Scope = EVERYTHING,
    project_id: UUID | None = None,
) -> dict[datetime, dict[str, int]]:
    with db.reading(sessions) as session:
        return activity.every_series(session, unit, since, until, scope, project_id, [measure])[measure]


@pytest.mark.usefixtures("used")
def test_a_series_has_the_amounts_of_each_moment(sessions: db.Sessions) -> None:
    found = series(sessions)

    assert list(found) == [FIRST + number * HOUR for number in range(48)]
    assert found[FIRST] == {"provider_5xx": 3}
    assert found[FIRST + 7 * HOUR] == {"ok": 3 * 6, "provider_5xx": 3 * 2}


@pytest.mark.usefixtures("used")
def test_units_tell_of_the_same_requests(sessions: db.Sessions) -> None:
    requests = 3 * sum(range(1, 49))

    for unit in Unit:
        found = series(sessions, unit)
        assert sum(sum(buckets.values()) for buckets in found.values()) == requests
    assert list(series(sessions, Unit.DAY)) == [FIRST, FIRST + DAY]


@pytest.mark.usefixtures("used")
def test_a_span_has_its_beginning_and_not_its_end(sessions: db.Sessions) -> None:
    found = series(sessions, since=FIRST + HOUR, until=FIRST + 3 * HOUR)

    assert list(found) == [FIRST + HOUR, FIRST + 2 * HOUR]


@pytest.mark.usefixtures("used")
def test_a_time_without_anything_is_left_out(sessions: db.Sessions) -> None:
    assert series(sessions, since=FIRST - DAY, until=FIRST) == {}


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("project_ids", "project_id", "share"),
    [
        (None, None, 3),
        (None, OTHER, 1),
        (None, UUID(int=7), 0),
        ([PROJECT_ID, OTHER], None, 2),
        ([OTHER], None, 1),
        ([OTHER], OTHER, 1),
        ([OTHER], PROJECT_ID, 0),
        ([], None, 0),
        ([], OTHER, 0),
    ],
    ids=["all", "one", "no such", "two", "scope", "within", "out of scope", "nothing", "out of nothing"],
)
def test_only_what_is_in_scope_is_told(
    sessions: db.Sessions, project_ids: list[UUID] | None, project_id: UUID | None, share: int
) -> None:
    scope = Scope(None if project_ids is None else frozenset(project_ids))

    with db.reading(sessions) as session:
        span = (FIRST, FIRST + DAY)
        totals = activity.totals(session, Unit.HOUR, *span, Measure.OUTCOME, scope, project_id)

    assert sum(totals.values()) == share * sum(range(1, 25))


@pytest.mark.usefixtures("used")
def test_who_may_see_all_projects_by_name_reads_the_same_as_who_may_see_everything(sessions: db.Sessions) -> None:
    by_name = Scope(frozenset([PROJECT_ID, OTHER, THIRD]))

    for measure in Measure:
        assert series(sessions, measure=measure, scope=by_name) == series(sessions, measure=measure)


@pytest.mark.usefixtures("used")
def test_totals_are_those_of_the_whole_span(sessions: db.Sessions) -> None:
    with db.reading(sessions) as session:
        found = activity.totals(session, Unit.HOUR, FIRST, FIRST + 4 * HOUR, Measure.TOKENS, project_id=OTHER)

    assert found == {"prompt": 100, "completion": 200}


# Percentiles


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_within_ten_percent_of_each_moment_and_of_the_whole(sessions: db.Sessions, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    hours = {NOW + number * HOUR: [chance.lognormvariate(5 + number, 0.8) for _ in range(700)] for number in range(3)}
    events = [
        replace(EVENT, request_id=f"d{duration}", occurred_at=moment, duration_ms=duration, first_byte_ms=duration / 3)
        for moment, durations in hours.items()
        for duration in durations
    ]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])

    span = (NOW - HOUR, NOW + DAY)
    told = series(sessions, Unit.HOUR, Measure.DURATION, *span)
    first = histogram.merged(series(sessions, Unit.HOUR, Measure.FIRST_BYTE, *span).values())

    near = {moment: exact(durations, (50, 95, 99)) for moment, durations in hours.items()}
    assert list(told) == [Unit.HOUR.beginning(moment) for moment in hours]
    for moment, expected in near.items():
        counts = told[Unit.HOUR.beginning(moment)]
        assert histogram.percentiles(counts, (50, 95, 99)) == pytest.approx(expected, rel=0.1)
    everything = [duration for durations in hours.values() for duration in durations]
    whole = histogram.percentiles(histogram.merged(told.values()), (50, 95, 99))
    assert whole == pytest.approx(exact(everything, (50, 95, 99)), rel=0.1)
    assert histogram.percentiles(first, (10, 90)) == pytest.approx(
        exact([duration / 3 for duration in everything], (10, 90)), rel=0.1
    )


def exact(durations: list[float], percents: tuple[int, ...]) -> dict[int, float]:
    """Percentiles by the nearest rank."""
    in_order = sorted(durations)
    return {percent: in_order[math.ceil(len(durations) * percent / 100) - 1] for percent in percents}


# Ranges

MOMENT = datetime(2026, 3, 29, 12, 34, 56, 789, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "unit", "count", "since", "until"),
    [
        ("hour", Unit.MINUTE, 60, "2026-03-29T11:35:00Z", "2026-03-29T12:35:00Z"),
        ("day", Unit.HOUR, 24, "2026-03-28T13:00:00Z", "2026-03-29T13:00:00Z"),
        ("week", Unit.HOUR, 168, "2026-03-22T13:00:00Z", "2026-03-29T13:00:00Z"),
        ("month", Unit.DAY, 30, "2026-02-28T00:00:00Z", "2026-03-30T00:00:00Z"),
    ],
)
def test_a_range_ends_with_the_unit_of_now(name: str, unit: Unit, count: int, since: str, until: str) -> None:
    found = Range(name)

    assert (found.unit, found.units) == (unit, count)
    moments = found.moments(MOMENT)
    assert len(moments) == count and moments == sorted(moments)
    assert found.span(MOMENT) == (datetime.fromisoformat(since), datetime.fromisoformat(until))
    assert {later - earlier for earlier, later in zip(moments, moments[1:], strict=False)} == {unit.length}


def test_units_begin_in_utc_whatever_the_zone() -> None:
    moment = datetime.fromisoformat("2026-03-29T00:10:20.5+05:45")

    beginnings = [unit.beginning(moment).isoformat() for unit in Unit]

    assert beginnings == ["2026-03-28T18:25:00+00:00", "2026-03-28T18:00:00+00:00", "2026-03-28T00:00:00+00:00"]


# Large numbers


def test_large_sums_are_exact(sessions: db.Sessions, rows: Rows) -> None:
    for project_id in (PROJECT_ID, OTHER):
        columns = {"project_id": project_id, "unit": "day", "measure": "cost", "bucket": "nano_usd"}
        rows.add(Activity(**columns, moment=FIRST - DAY, amount=2**60 + 1))

    found = series(sessions, Unit.DAY, Measure.COST, FIRST - DAY, scope=Scope(frozenset([PROJECT_ID, OTHER])))

    assert found == {FIRST - DAY: {"nano_usd": 2**61 + 2}}
