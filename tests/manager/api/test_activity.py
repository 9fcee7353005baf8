"""Rules of what charts are drawn of: each moment is there, kinds of ends are told apart, scope and project minded."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from manager import db, rollup
from manager.principals import Principal, Role, Scope
from shared.models import Outcome, Usage, UsageEvent
from shared.prices import Price, PriceTable
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.api.test_scope import SignIn
from tests.manager.conftest import EVENT, PROJECT_ID, one_database

OTHER = uuid.UUID("018f0000-0000-7000-8000-0000000000ff")
MOMENT = datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC)
PRICES = PriceTable((Price("openai", "gpt-5*", prompt=10**9, completion=2 * 10**9),))
LIMITED = replace(EVENT, status=429, usage=Usage(), first_byte_ms=None, provider="nobody")
NOTHING: dict[str, Any] = {"requests": 0, "outcomes": {}, "tokens": {"prompt": 0, "completion": 0}, "cost": None}
NOTHING |= {"duration": None, "first_byte": None}


def at(event: UsageEvent, name: str, **age: float) -> UsageEvent:
    return replace(event, request_id=name, occurred_at=MOMENT - timedelta(**age))


@pytest.fixture
def used(sessions: db.Sessions) -> None:
    """Some requests of two projects, some of them a while ago."""
    events = [
        at(EVENT, "now"),
        at(LIMITED, "limited"),
        at(replace(EVENT, project_id=str(OTHER)), "other", minutes=5),
        at(replace(EVENT, outcome=Outcome.UPSTREAM_ABORTED, error_code="upstream_timeout"), "late", hours=3),
        at(EVENT, "earlier", days=5),
        at(EVENT, "long ago", days=20),
        at(EVENT, "longer ago", days=40),
    ]
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event, PRICES) for event in events])


def asked(api: Api, **query: Any) -> dict[str, Any]:
    """What is answered at the moment."""
    with time_machine.travel(MOMENT, tick=False):
        answer = api.get("activity", **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


@pytest.mark.usefixtures("used")
def test_a_moment_has_its_requests_tokens_cost_and_percentiles(api: Api) -> None:
    item = asked(api, range="hour")["items"][-1]

    assert item.pop("duration") == {name: pytest.approx(812.5, rel=0.1) for name in ("p50", "p95", "p99")}
    assert item.pop("first_byte") == {name: pytest.approx(101.25, rel=0.1) for name in ("p50", "p95", "p99")}
    assert item == {
        "moment": "2026-05-04T10:20:00+00:00",
        "requests": 2,
        "outcomes": {"ok": 1, "provider_429": 1},
        "tokens": {"prompt": 10, "completion": 20},
        "cost": "0.00005",
    }


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("name", "unit", "count", "since", "requests", "places"),
    [
        ("hour", "minute", 60, "2026-05-04T09:21:00+00:00", 3, {54: 1, 59: 2}),
        ("day", "hour", 24, "2026-05-03T11:00:00+00:00", 4, {20: 1, 23: 3}),
        ("week", "hour", 168, "2026-04-27T11:00:00+00:00", 5, {47: 1, 164: 1, 167: 3}),
        ("month", "day", 30, "2026-04-05T00:00:00+00:00", 6, {9: 1, 24: 1, 29: 4}),
    ],
)
def test_each_moment_of_a_range_is_there(
    api: Api, name: str, unit: str, count: int, since: str, requests: int, places: dict[int, int]
) -> None:
    found = asked(api, range=name)

    assert (found["range"], found["unit"], found["since"]) == (name, unit, since)
    assert len(found["items"]) == count and found["items"][0]["moment"] == since
    assert found["until"] > found["items"][-1]["moment"] == max(item["moment"] for item in found["items"])
    assert {at: item["requests"] for at, item in enumerate(found["items"]) if item["requests"]} == places
    assert found["totals"]["requests"] == requests


@pytest.mark.usefixtures("used")
def test_totals_are_of_the_whole_range(api: Api) -> None:
    totals = asked(api, range="day")["totals"]

    assert totals["outcomes"] == {"ok": 2, "provider_429": 1, "upstream_timeout": 1}
    assert totals["tokens"] == {"prompt": 30, "completion": 60}
    assert totals["cost"] == "0.00015"
    assert set(totals["duration"]) == {"p50", "p95", "p99"}


def test_where_nothing_went_on_nothing_is_told(api: Api) -> None:
    found = asked(api)

    assert found["range"] == "day" and found["totals"] == NOTHING
    assert [{**item, "moment": None} for item in found["items"]] == [{**NOTHING, "moment": None}] * 24


@pytest.mark.usefixtures("used")
def test_a_project_is_told_by_itself(api: Api) -> None:
    counts = [asked(api, project_id=each)["totals"]["requests"] for each in (PROJECT_ID, OTHER, uuid.UUID(int=7))]

    assert counts == [3, 1, 0]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("project_ids", "query", "requests"),
    [([OTHER], {}, 1), ([OTHER], {"project_id": PROJECT_ID}, 0), ([PROJECT_ID, OTHER], {}, 4), ([], {}, 0)],
    ids=["own", "foreign", "both", "none"],
)
def test_only_what_is_in_scope_is_told(
    api: Api, signed_in: SignIn, project_ids: list[uuid.UUID], query: dict[str, Any], requests: int
) -> None:
    signed_in(Principal("nightly", Role.AUDITOR, Scope(frozenset(project_ids))))

    assert asked(api, **query)["totals"]["requests"] == requests


@one_database
@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"range": "year"}, ["range"]),
        ({"range": ""}, ["range"]),
        ({"project_id": "search team"}, ["project_id"]),
        ({"since": "2026-01-01"}, ["since"]),
        ({"range": ["day", "week"]}, ["range"]),
    ],
    ids=["range", "empty", "project", "unknown", "twice"],
)
def test_what_is_not_understood_is_refused(api: Api, query: dict[str, Any], fields: list[str]) -> None:
    assert faulty(api.get("activity", **query)) == fields


@one_database
def test_an_auditor_may_read_it_and_nobody_else(api: Api) -> None:
    auditor = api.operator("auditor")

    assert auditor.get("activity").status_code == 200
    assert problem(replace(api, bearer="wrong").get("activity"))[0] == 401
