"""Rules of what charts are drawn of: requests count in their minute, hour and day, for their project and for all."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from manager import activity_rows, db, histogram, projects, rollup
from manager.activity import ALL_PROJECTS, Unit
from manager.tables import Activity
from shared.models import Outcome, Usage, UsageEvent
from shared.prices import Price, PriceTable
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, Rows, numbered

type Record = Callable[..., int]
type Amounts = dict[tuple[str, str], int]

OTHER = UUID("018f0000-0000-7000-8000-0000000000ff")
PRICES = PriceTable((Price("openai", "gpt-5*", prompt=10**9, completion=2 * 10**9),))
MINUTE = datetime(2026, 5, 4, 10, 20, tzinfo=UTC)
HOUR, DAY = MINUTE.replace(minute=0), MINUTE.replace(hour=0, minute=0)


@pytest.fixture
def record(sessions: db.Sessions) -> Record:
    """Records events at prices in one transaction."""

    def run(*events: UsageEvent) -> int:
        with sessions.begin() as session:
            return rollup.record(session, [rollup.request_row(event, PRICES) for event in events])

    return run


def counted(rows: Rows, project_id: UUID = PROJECT_ID, unit: Unit = Unit.DAY) -> Amounts:
    """The amounts of a project in all times together."""
    found: Amounts = defaultdict(int)
    for row in rows.all(Activity):
        if row.project_id == project_id and row.unit == unit:
            found[row.measure, row.bucket] += row.amount
    return dict(found)


def everything(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, column.name) for column in Activity.__table__.columns) for row in rows.all(Activity)]


# Counting


def test_a_request_counts_in_its_minute_hour_and_day_for_its_project_and_for_all(record: Record, rows: Rows) -> None:
    record(EVENT)

    moments = {(row.project_id, row.unit): row.moment for row in rows.all(Activity)}
    units = {Unit.MINUTE: MINUTE, Unit.HOUR: HOUR, Unit.DAY: DAY}
    assert moments == {(owner, unit): moment for owner in (PROJECT_ID, ALL_PROJECTS) for unit, moment in units.items()}
    for owner, unit in moments:
        assert counted(rows, owner, unit) == {
            ("outcome", "ok"): 1,
            ("duration", histogram.bucket_of(812.5)): 1,
            ("first_byte", histogram.bucket_of(101.25)): 1,
            ("tokens", "prompt"): 10,
            ("tokens", "completion"): 20,
            ("cost", "nano_usd"): 50_000,
        }


def test_a_cost_that_nobody_knows_is_counted_as_such(record: Record, rows: Rows) -> None:
    record(replace(EVENT, provider="nobody"))

    known = counted(rows)
    assert (known["cost", "unpriced"], known.get(("cost", "nano_usd"))) == (1, None)


def test_what_is_not_known_is_not_counted(record: Record, rows: Rows) -> None:
    record(replace(EVENT, usage=Usage(), first_byte_ms=None, provider="nobody"))

    assert counted(rows) == {("outcome", "ok"): 1, ("duration", histogram.bucket_of(812.5)): 1}


def test_batches_add_up(record: Record, rows: Rows) -> None:
    record(*numbered(3))
    record(*numbered(5))

    assert counted(rows)["outcome", "ok"] == 5 and counted(rows)["tokens", "prompt"] == 50


def test_a_request_that_is_known_counts_once(record: Record, rows: Rows) -> None:
    record(EVENT)
    before = everything(rows)

    record(EVENT, EVENT)

    assert everything(rows) == before


@pytest.mark.parametrize("minutes", [0, 330, -210, 345])
def test_times_are_those_of_utc(record: Record, rows: Rows, minutes: int) -> None:
    record(replace(EVENT, occurred_at=NOW.astimezone(timezone(timedelta(minutes=minutes)))))

    assert {row.moment for row in rows.all(Activity)} == {MINUTE, HOUR, DAY}


def test_all_projects_are_the_sum_of_each(record: Record, rows: Rows) -> None:
    record(EVENT, replace(EVENT, request_id="r2", project_id=str(OTHER), status=429))
    record(replace(EVENT, request_id="r3", project_id=str(OTHER)))

    assert counted(rows)["outcome", "ok"] == 1
    assert counted(rows, OTHER) == counted(rows, OTHER) | {("outcome", "ok"): 1, ("outcome", "provider_429"): 1}
    assert counted(rows, ALL_PROJECTS)["outcome", "ok"] == 2
    assert counted(rows, ALL_PROJECTS)["tokens", "completion"] == 60


def test_a_batch_is_added_in_one_statement(engine: sa.Engine, record: Record, rows: Rows) -> None:
    said: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    events = [
        replace(event, occurred_at=NOW + number * timedelta(minutes=7)) for number, event in enumerate(numbered(90))
    ]

    record(*events)

    assert len([text for text in said if "activity" in text]) == 1
    assert len({row.moment for row in rows.all(Activity) if row.unit == Unit.MINUTE}) == 90


# Kinds of ends


@pytest.mark.parametrize(
    ("status", "outcome", "code", "kind"),
    [
        (200, Outcome.FINISHED, None, "ok"),
        (101, Outcome.FINISHED, None, "ok"),
        (304, Outcome.FINISHED, None, "ok"),
        (200, Outcome.FINISHED, "upstream_timeout", "ok"),
        (400, Outcome.FINISHED, None, "provider_4xx"),
        (429, Outcome.FINISHED, None, "provider_429"),
        (500, Outcome.FINISHED, None, "provider_5xx"),
        (529, Outcome.FINISHED, None, "provider_5xx"),
        (0, Outcome.FINISHED, None, "finished"),
        (429, Outcome.REFUSED, "rate_limit_exceeded", "rate_limit_exceeded"),
        (503, Outcome.REFUSED, None, "refused"),
        (504, Outcome.UPSTREAM_ABORTED, "upstream_timeout", "upstream_timeout"),
        (200, Outcome.UPSTREAM_ABORTED, "", "upstream_aborted"),
        (200, Outcome.CUT, "token_inactive", "token_inactive"),
        (0, Outcome.CLIENT_ABORTED, None, "client_aborted"),
        (200, Outcome.CLIENT_ABORTED, None, "client_aborted"),
        (0, Outcome.LOST, None, "lost"),
    ],
)
def test_ends_are_told_apart_by_what_was_the_matter(status: int, outcome: Outcome, code: str | None, kind: str) -> None:
    row = rollup.request_row(replace(EVENT, status=status, outcome=outcome, error_code=code))

    assert activity_rows.kind_of_end(row) == kind


def test_the_longest_kind_fits(record: Record, rows: Rows) -> None:
    record(replace(EVENT, outcome=Outcome.REFUSED, status=400, error_code="ü" * 99))

    assert ("outcome", "ü" * 64) in counted(rows)


# Corrections

LOST = replace(EVENT, outcome=Outcome.LOST, status=0, first_byte_ms=None, usage=Usage(7, None, 7, is_estimate=True))
ENDED = replace(EVENT, duration_ms=5.0, usage=Usage(10, 5000, 5010))


@pytest.mark.parametrize(
    "batches",
    [[(LOST,), (ENDED,)], [(LOST, ENDED)], [(ENDED,), (LOST,)], [(LOST,), (ENDED, LOST), (ENDED,)]],
    ids=["later", "at once", "before", "again and again"],
)
def test_what_really_happened_takes_the_place_of_lost(
    record: Record, rows: Rows, batches: list[tuple[UsageEvent, ...]]
) -> None:
    for batch in batches:
        record(*batch)

    assert (
        counted(rows)
        == counted(rows, ALL_PROJECTS, Unit.MINUTE)
        == {
            ("outcome", "ok"): 1,
            ("duration", histogram.bucket_of(5.0)): 1,
            ("first_byte", histogram.bucket_of(101.25)): 1,
            ("tokens", "prompt"): 10,
            ("tokens", "completion"): 5000,
            ("cost", "nano_usd"): 10_010_000,
        }
    )
    assert len(rows.all(Activity)) == 6 * 3 * 2


def test_a_correction_leaves_what_others_have_counted(record: Record, rows: Rows) -> None:
    record(LOST, replace(LOST, request_id="r2"), replace(EVENT, request_id="r3", project_id=str(OTHER)))

    record(ENDED)

    assert counted(rows)["outcome", "lost"] == counted(rows)["outcome", "ok"] == 1
    assert counted(rows)["tokens", "prompt"] == 7 + 10
    assert counted(rows, ALL_PROJECTS)["outcome", "ok"] == 2


def test_what_an_earlier_release_has_counted_nowhere_cannot_make_less_than_nothing(
    record: Record, rows: Rows, sessions: db.Sessions
) -> None:
    record(LOST)
    with sessions.begin() as session:
        session.execute(sa.delete(Activity))

    record(ENDED)

    assert counted(rows)["outcome", "ok"] == 1
    assert min(row.amount for row in rows.all(Activity)) > 0 and ("outcome", "lost") not in counted(rows)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_in_whatever_order_the_rows_are_those_of_the_requests(
    record: Record, rows: Rows, sessions: db.Sessions, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    events = [any_event(chance, number) for number in range(60)]
    late = [replace(event, outcome=Outcome.FINISHED, status=200) for event in events if event.outcome is Outcome.LOST]
    for _ in range(12):
        record(*chance.sample(events + late, 25))

    found = everything(rows)
    with sessions.begin() as session:
        session.execute(sa.delete(Activity))
        kept = [{name: getattr(row, name) for name in row.__table__.columns.keys()} for row in rows.all(rollup.Request)]
        activity_rows.record(session, kept)
    assert found == everything(rows) and len(kept) > 50


def any_event(chance: random.Random, number: int) -> UsageEvent:
    return replace(
        EVENT,
        request_id=f"r{number}",
        project_id=str(chance.choice([PROJECT_ID, OTHER])),
        occurred_at=NOW + timedelta(minutes=chance.randrange(3000)),
        outcome=chance.choice([Outcome.FINISHED, Outcome.LOST]),
        status=chance.choice([0, 200, 429]),
        duration_ms=chance.lognormvariate(6, 2),
        first_byte_ms=chance.choice([None, chance.lognormvariate(4, 2)]),
        usage=chance.choice([Usage(), Usage(chance.randrange(99), chance.randrange(99), 99)]),
    )


# Several at once


def test_two_collectors_count_the_same_rows_together(sessions: db.Sessions, rows: Rows) -> None:
    together = threading.Barrier(2)

    def collect(number: int) -> None:
        events = [
            replace(event, request_id=f"{number}-{event.request_id}", project_id=str((PROJECT_ID, OTHER)[at % 2]))
            for at, event in enumerate(numbered(60)[:: 1 if number else -1])
        ]
        together.wait()
        for first in range(0, 60, 10):
            some = [rollup.request_row(event) for event in events[first : first + 10]]
            db.transact(sessions, lambda session, some=some: rollup.record(session, some))  # type: ignore[misc]

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted(rows, ALL_PROJECTS)["outcome", "ok"] == 120
    assert counted(rows, PROJECT_ID)["outcome", "ok"] == counted(rows, OTHER)["outcome", "ok"] == 60


# Purging and forgetting


def test_of_a_purged_project_nothing_is_counted_any_more(record: Record, rows: Rows, sessions: db.Sessions) -> None:
    project = rows.project(deleted_at=NOW)
    record(*[replace(event, project_id=str(OTHER)) for event in numbered(4)])
    before = everything(rows)
    record(*[replace(event, project_id=str(project.id), request_id=f"p-{event.request_id}") for event in numbered(2)])
    assert everything(rows) != before

    with sessions.begin() as session:
        projects.purge(session, NOW, session.merge(project))

    assert everything(rows) == before


def test_minutes_are_kept_for_two_days_hours_for_sixty_and_days_for_good(
    record: Record, rows: Rows, sessions: db.Sessions
) -> None:
    ages = [timedelta(days=days) for days in (0, 1, 2, 3, 59, 60, 61, 900)]
    record(*[replace(event, occurred_at=NOW - age) for age, event in zip(ages, numbered(8), strict=True)])

    with sessions.begin() as session:
        forgotten = activity_rows.forget(session, MINUTE, [PROJECT_ID, ALL_PROJECTS])

    kept = {unit: counted(rows, unit=unit)["outcome", "ok"] for unit in Unit}
    assert kept == {Unit.MINUTE: 3, Unit.HOUR: 5, Unit.DAY: 8}
    assert forgotten == 2 * 6 * (5 + 3)
    with sessions.begin() as session:
        assert activity_rows.forget(session, MINUTE, [PROJECT_ID, ALL_PROJECTS]) == 0


def test_only_what_belongs_to_the_projects_that_are_named_is_forgotten(
    record: Record, rows: Rows, sessions: db.Sessions
) -> None:
    record(EVENT, replace(EVENT, request_id="r2", project_id=str(OTHER)))

    with sessions.begin() as session:
        activity_rows.forget(session, NOW + timedelta(days=3), [OTHER])

    minutes = {row.project_id for row in rows.all(Activity) if row.unit == Unit.MINUTE}
    assert minutes == {PROJECT_ID, ALL_PROJECTS}
