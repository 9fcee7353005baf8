"""Rules of the record: each request once, sums per hour and kind, counters that only grow, texts that fit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from manager import db, rollup
from manager.tables import DailyUsage, HourlyUsage, Request
from manager.usage import SUMS
from shared.models import Outcome, Usage, UsageEvent
from shared.prices import Price, PriceTable
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, TOKEN_ID, Rows, numbered

type Record = Callable[..., int]

OTHER_ID = "018f0000-0000-7000-8000-0000000000ff"


@pytest.fixture
def record(sessions: db.Sessions) -> Record:
    """Records events in one transaction."""

    def run(*events: UsageEvent) -> int:
        with sessions.begin() as session:
            return rollup.record(session, [rollup.request_row(event) for event in events])

    return run


def second(**changes: Any) -> UsageEvent:
    return replace(EVENT, request_id="r2", **changes)


# Single requests


def test_a_request_is_recorded_as_it_was_seen(record: Record, rows: Rows) -> None:
    record(replace(EVENT, upstream_key_id=OTHER_ID, error_code="upstream_timeout", attempts=3))

    [row] = rows.all(Request)
    assert (row.request_id, row.occurred_at, row.outcome) == ("r1", NOW, "finished")
    assert (row.project_id, row.token_id, row.upstream_key_id) == (PROJECT_ID, TOKEN_ID, UUID(OTHER_ID))
    assert (row.provider, row.route, row.method, row.model) == ("openai", "chat.completions", "POST", "gpt-5-mini")
    assert (row.status, row.error_code, row.is_stream, row.chunks) == (200, "upstream_timeout", True, 12)
    assert (row.request_bytes, row.response_bytes, row.sequence, row.attempts) == (300, 4000, 1, 3)
    assert (row.duration_ms, row.first_byte_ms) == (812.5, 101.25)
    assert (row.prompt_tokens, row.completion_tokens, row.total_tokens) == (10, 20, 30)


def test_what_was_not_seen_stays_unknown(record: Record, rows: Rows) -> None:
    record(replace(EVENT, model=None, first_byte_ms=None, usage=Usage()))

    [row] = rows.all(Request)
    assert [row.model, row.first_byte_ms, row.upstream_key_id, row.prompt_tokens, row.total_tokens] == [None] * 5


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_fits(record: Record, rows: Rows, outcome: Outcome) -> None:
    record(replace(EVENT, outcome=outcome))

    assert rows.all(Request)[0].outcome == outcome.value


def test_a_request_that_is_known_changes_nothing(record: Record, rows: Rows) -> None:
    counts = [record(EVENT), record(EVENT, EVENT), record(replace(EVENT, status=500), second())]

    assert counts == [1, 0, 1]
    assert [row.status for row in rows.all(Request)] == [200, 200]
    assert [row.requests for row in rows.all(HourlyUsage)] == [2]


LOST = replace(EVENT, outcome=Outcome.LOST, status=0, model=None, usage=Usage(10, None, 10, is_estimate=True))
ENDED = replace(EVENT, usage=Usage(10, 5000, 5010))


@pytest.mark.parametrize(
    "batches",
    [[(LOST,), (ENDED,)], [(LOST, ENDED)], [(ENDED, LOST)], [(ENDED,), (LOST,)], [(LOST,), (ENDED, LOST), (ENDED,)]],
    ids=["later", "at once", "at once, backwards", "before", "again and again"],
)
def test_what_really_happened_takes_the_place_of_lost(
    record: Record, rows: Rows, batches: list[tuple[UsageEvent, ...]]
) -> None:
    record(second())
    counts = [record(*batch) for batch in batches]

    assert sum(counts) == 1
    ended = next(row for row in rows.all(Request) if row.request_id == EVENT.request_id)
    assert (ended.outcome, ended.status, ended.total_tokens, ended.is_estimate) == ("finished", 200, 5010, False)
    [sums] = rows.all(HourlyUsage)
    assert (sums.requests, sums.estimated_requests) == (2, 0)
    assert sums.total_tokens == 5010 + (EVENT.usage.total_tokens or 0)


def test_nothing_to_record_is_fine(record: Record, rows: Rows) -> None:
    assert record() == 0
    assert rows.all(Request) == []


@pytest.mark.parametrize(
    ("field", "length"),
    [("request_id", 64), ("provider", 64), ("route", 128), ("method", 16), ("model", 256), ("error_code", 64)],
)
def test_texts_are_cut_to_their_columns(record: Record, rows: Rows, field: str, length: int) -> None:
    text = "ü" * length

    record(replace(EVENT, **{field: text + "rest"}))

    assert getattr(rows.all(Request)[0], field) == text


@pytest.mark.parametrize("field", ["request_id", "provider", "route", "method", "model", "error_code"])
def test_nuls_are_removed_since_postgresql_takes_none(record: Record, rows: Rows, field: str) -> None:
    record(replace(EVENT, **{field: "\0left\0right\0"}))

    assert getattr(rows.all(Request)[0], field) == "leftright"


@pytest.mark.parametrize("count", [-1, 2**31, 2**63, 2**64, 10**30])
def test_counts_that_no_provider_can_mean_are_taken_as_unsaid(record: Record, rows: Rows, count: int) -> None:
    record(EVENT, second(usage=Usage(count, count, count)))

    assert rows.all(Request)[1].total_tokens is None
    assert [(row.requests, row.total_tokens) for row in rows.all(HourlyUsage)] == [(2, 30)]


@pytest.mark.parametrize("count", [0, 2**31 - 1])
def test_counts_that_a_provider_can_mean_are_kept(record: Record, rows: Rows, count: int) -> None:
    record(replace(EVENT, usage=Usage(count, count, count)))

    assert rows.all(HourlyUsage)[0].total_tokens == rows.all(Request)[0].prompt_tokens == count


@pytest.mark.parametrize(
    ("field", "fits", "does_not"),
    [("status", 2**31 - 1, 2**31), ("chunks", 0, -(2**31) - 1), ("request_bytes", 2**63 - 1, 2**63)],
)
def test_numbers_must_fit_their_columns(record: Record, field: str, fits: int, does_not: int) -> None:
    assert record(replace(EVENT, **{field: fits})) == 1

    with pytest.raises(ValueError, match="more than (31|63) bits"):
        rollup.request_row(replace(EVENT, **{field: does_not}))


@pytest.mark.parametrize("field", ["project_id", "token_id", "upstream_key_id"])
def test_ids_must_be_uuids(field: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        rollup.request_row(replace(EVENT, **{field: "search"}))


def test_a_time_must_have_a_zone() -> None:
    with pytest.raises(ValueError, match="without zone"):
        rollup.request_row(replace(EVENT, occurred_at=NOW.replace(tzinfo=None)))


# Sums


def test_requests_of_one_kind_are_summed_up(record: Record, rows: Rows) -> None:
    record(EVENT, second(request_bytes=1, response_bytes=2, duration_ms=0.5, usage=Usage(1, 2, 3)))

    [row] = rows.all(HourlyUsage)
    assert (row.hour, row.project_id, row.token_id) == (datetime(2026, 5, 4, 10, tzinfo=UTC), PROJECT_ID, TOKEN_ID)
    assert (row.route, row.model, row.status_class) == ("chat.completions", "gpt-5-mini", 2)
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.total_tokens) == (2, 11, 22, 33)
    assert (row.request_bytes, row.response_bytes, row.duration_ms) == (301, 4002, 813.0)


def test_later_requests_are_added_to_the_sums(record: Record, rows: Rows) -> None:
    record(EVENT)
    record(second(usage=Usage(1, 2, 3)))

    [row] = rows.all(HourlyUsage)
    assert (row.requests, row.total_tokens, row.response_bytes, row.duration_ms) == (2, 33, 8000, 1625.0)


KINDS: dict[str, dict[str, Any]] = {
    "hour": {"occurred_at": NOW + timedelta(hours=1)},
    "project": {"project_id": OTHER_ID},
    "token": {"token_id": OTHER_ID},
    "route": {"route": "embeddings"},
    "model": {"model": "gpt-5"},
    "status class": {"status": 429},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_own_sums(record: Record, rows: Rows, kind: str) -> None:
    record(EVENT, second(**KINDS[kind]))

    assert [row.requests for row in rows.all(HourlyUsage)] == [1, 1]


@pytest.mark.parametrize(("status", "of_class"), [(0, 0), (200, 2), (299, 2), (404, 4), (499, 4), (503, 5)])
def test_statuses_are_summed_by_class(record: Record, rows: Rows, status: int, of_class: int) -> None:
    record(replace(EVENT, status=status))

    assert rows.all(HourlyUsage)[0].status_class == of_class


def test_an_unknown_model_and_unsaid_usage_are_summed_as_nothing(record: Record, rows: Rows) -> None:
    record(replace(EVENT, model=None, usage=Usage()), second(model=None))

    [row] = rows.all(HourlyUsage)
    assert (row.model, row.requests, row.total_tokens) == ("", 2, 30)


@pytest.mark.parametrize("minutes", [0, 330, -210, 345])
def test_hours_are_those_of_utc(record: Record, rows: Rows, minutes: int) -> None:
    moment = NOW.astimezone(timezone(timedelta(minutes=minutes)))

    record(replace(EVENT, occurred_at=moment))

    assert rows.all(HourlyUsage)[0].hour == datetime(2026, 5, 4, 10, tzinfo=UTC)


def test_the_first_and_the_last_moment_of_an_hour_belong_together(record: Record, rows: Rows) -> None:
    hour = datetime(2026, 5, 4, 10, tzinfo=UTC)
    last = hour + timedelta(hours=1) - timedelta(microseconds=1)

    record(replace(EVENT, occurred_at=hour), second(occurred_at=last))

    assert [(row.hour, row.requests) for row in rows.all(HourlyUsage)] == [(hour, 2)]


def test_a_batch_of_many_kinds_is_summed_up_whole(record: Record, rows: Rows) -> None:
    routes = [replace(event, route=f"route {number % 7}") for number, event in enumerate(numbered(700))]

    assert record(*routes) == 700
    assert [row.requests for row in rows.all(HourlyUsage)] == [100] * 7


# Counters


@pytest.mark.parametrize(("known", "seen", "expected"), [(0, 5, 5), (5, 5, 5), (9, 5, 9)])
def test_the_count_of_a_token_only_grows(record: Record, rows: Rows, known: int, seen: int, expected: int) -> None:
    token = rows.token(rows.project(), request_count=known)

    record(replace(EVENT, token_id=str(token.id), sequence=seen))

    assert rows.fresh(token).request_count == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [(None, NOW), (NOW - timedelta(microseconds=1), NOW), (NOW + timedelta(days=1), NOW + timedelta(days=1))],
    ids=["never", "earlier", "later"],
)
def test_the_last_use_of_a_token_only_grows(
    record: Record, rows: Rows, known: datetime | None, expected: datetime
) -> None:
    token = rows.token(rows.project(), last_used_at=known)

    record(replace(EVENT, token_id=str(token.id)))

    assert rows.fresh(token).last_used_at == expected


def test_of_a_batch_in_any_order_the_largest_count_and_the_latest_time_stay(record: Record, rows: Rows) -> None:
    token = rows.token(rows.project())
    event = replace(EVENT, token_id=str(token.id), sequence=8, occurred_at=NOW - timedelta(minutes=1))

    record(event, replace(event, request_id="r2", sequence=7, occurred_at=NOW))

    found = rows.fresh(token)
    assert (found.request_count, found.last_used_at) == (8, NOW)


def test_counters_of_other_tokens_stay(record: Record, rows: Rows) -> None:
    project = rows.project()
    used, unused = rows.token(project), rows.token(project, digest="d2")

    record(replace(EVENT, token_id=str(used.id)))

    assert (rows.fresh(unused).request_count, rows.fresh(unused).last_used_at) == (0, None)


def test_counting_is_no_change_that_has_to_be_published(record: Record, rows: Rows) -> None:
    token = rows.token(rows.project(), version=3, published_version=3)

    record(replace(EVENT, token_id=str(token.id)))

    assert (rows.fresh(token).version, rows.fresh(token).published_version) == (3, 3)


# Details, paces and costs

PRICES = PriceTable((Price("openai", "gpt-5*", prompt=10**9, completion=2 * 10**9),))


@pytest.fixture
def priced(sessions: db.Sessions) -> Record:
    """Records events at prices in one transaction."""

    def run(*events: UsageEvent) -> int:
        with sessions.begin() as session:
            return rollup.record(session, [rollup.request_row(event, PRICES) for event in events])

    return run


DETAILS = Usage(10, 20, 30, 4, 3, 2, 1, 5, is_estimate=True)


def test_every_detail_of_usage_is_recorded_and_summed(record: Record, rows: Rows) -> None:
    record(replace(EVENT, usage=DETAILS), second(usage=DETAILS))

    row, _ = rows.all(Request)
    assert (row.cached_tokens, row.cache_write_tokens, row.reasoning_tokens) == (4, 3, 2)
    assert (row.audio_prompt_tokens, row.audio_completion_tokens, row.is_estimate) == (1, 5, True)
    [hour] = rows.all(HourlyUsage)
    assert (hour.cached_tokens, hour.cache_write_tokens, hour.reasoning_tokens) == (8, 6, 4)
    assert (hour.audio_prompt_tokens, hour.audio_completion_tokens, hour.estimated_requests) == (2, 10, 2)


def test_what_else_the_provider_said_is_recorded(record: Record, rows: Rows) -> None:
    told = {"model_asked": "gpt-5", "finish_reason": "length", "provider_request_id": "req_7", "provider_ms": 7.5}

    record(replace(EVENT, **told))

    [row] = rows.all(Request)
    assert {name: getattr(row, name) for name in told} == told


@pytest.mark.parametrize(
    ("field", "length"), [("model_asked", 256), ("finish_reason", 64), ("provider_request_id", 128)]
)
def test_words_of_the_provider_are_cut_to_their_columns(record: Record, rows: Rows, field: str, length: int) -> None:
    record(replace(EVENT, **{field: "\0" + "ü" * length + "rest"}))

    assert getattr(rows.all(Request)[0], field) == "ü" * length


@pytest.mark.parametrize(
    ("changes", "pace"),
    [
        ({"duration_ms": 600.0, "first_byte_ms": 100.0}, 40.0),
        ({"duration_ms": 100.0, "first_byte_ms": 100.0}, None),
        ({"duration_ms": 90.0, "first_byte_ms": 100.0}, None),
        ({"first_byte_ms": None}, None),
        ({"is_stream": False}, None),
        ({"usage": Usage(10)}, None),
    ],
    ids=["stream", "at once", "clock", "no answer", "no stream", "no count"],
)
def test_the_pace_is_that_of_a_streamed_completion_since_its_first_byte(
    record: Record, rows: Rows, changes: dict[str, Any], pace: float | None
) -> None:
    record(replace(EVENT, **changes))

    assert rows.all(Request)[0].tokens_per_second == pace


def test_costs_are_recorded_and_summed(priced: Record, rows: Rows) -> None:
    priced(EVENT, second(usage=Usage(1, 1, 2)))

    assert [row.cost_nano_usd for row in rows.all(Request)] == [50_000, 3_000]
    assert [(row.cost_nano_usd, row.unpriced_requests) for row in rows.all(HourlyUsage)] == [(53_000, 0)]


def test_a_cost_that_is_not_known_is_null_and_its_request_counted(priced: Record, rows: Rows) -> None:
    priced(EVENT, replace(EVENT, request_id="r2", provider="nobody"))

    assert [row.cost_nano_usd for row in rows.all(Request)] == [50_000, None]
    assert [(row.cost_nano_usd, row.unpriced_requests) for row in rows.all(HourlyUsage)] == [(50_000, 1)]


def test_a_request_without_usage_has_no_cost_that_anybody_misses(priced: Record, rows: Rows) -> None:
    priced(replace(EVENT, usage=Usage()))

    assert [row.cost_nano_usd for row in rows.all(Request)] == [None]
    assert [row.unpriced_requests for row in rows.all(HourlyUsage)] == [0]


def test_a_model_without_a_price_costs_what_was_asked_for(priced: Record, rows: Rows) -> None:
    priced(replace(EVENT, model="served-by-an-alias", model_asked="gpt-5"))

    assert rows.all(Request)[0].cost_nano_usd == 50_000


def test_a_cost_beyond_reason_neither_stops_the_collector_nor_spoils_the_sums(sessions: db.Sessions) -> None:
    dear = PriceTable((Price("openai", "*", prompt=2**53, completion=0),))

    row = rollup.request_row(replace(EVENT, usage=Usage(2**31 - 1, 0)), dear)

    assert row["cost_nano_usd"] is None


def test_a_lost_request_is_recorded_like_any_other(priced: Record, rows: Rows) -> None:
    priced(replace(EVENT, outcome=Outcome.LOST, status=0, usage=Usage(10, 0, 10, is_estimate=True)))

    [row] = rows.all(Request)
    assert (row.outcome, row.cost_nano_usd, row.is_estimate) == ("lost", 10_000, True)


# Days


def added_up(rows: Rows, table: type[HourlyUsage] | type[DailyUsage]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The sums of each day and kind."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows.all(table):
        moment = row.day if isinstance(row, DailyUsage) else row.hour.replace(hour=0)
        kind = (moment, row.project_id, row.token_id, row.route, row.model, row.status_class)
        sums = found.setdefault(kind, dict.fromkeys(SUMS, 0))
        sums.update({name: sums[name] + getattr(row, name) for name in SUMS})
    return found


def test_days_are_the_sums_of_their_hours_corrections_included(sessions: db.Sessions, rows: Rows) -> None:
    events = [
        replace(EVENT, request_id=f"r{number}", occurred_at=NOW + number * timedelta(hours=5), outcome=outcome)
        for number, outcome in enumerate([Outcome.FINISHED, Outcome.LOST, Outcome.FINISHED, Outcome.LOST] * 3)
    ]
    late = [
        replace(event, outcome=Outcome.FINISHED, model="gpt-4o") for event in events if event.outcome is Outcome.LOST
    ]
    for batch in (events[:5], events[3:], late[:4], late):
        with sessions.begin() as session:
            rollup.record(session, [rollup.request_row(event) for event in batch])

    assert added_up(rows, DailyUsage) == added_up(rows, HourlyUsage)
    assert len(rows.all(HourlyUsage)) > len(rows.all(DailyUsage)) > 3
    assert {row.model for row in rows.all(DailyUsage)} == {"gpt-5-mini", "gpt-4o"}
