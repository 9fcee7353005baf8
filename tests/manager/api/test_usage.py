"""Rules of usage: sums by whatever is asked for, of what is asked for, and unknown costs are shown as such."""

import csv
import io
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from manager import db
from manager.tables import DailyUsage, HourlyUsage
from manager.usage import SUMS
from tests.manager.api.conftest import Api, faulty
from tests.manager.conftest import Rows, one_database

SEARCH, FIND = uuid.UUID(int=1), uuid.UUID(int=2)
NIGHTLY, WEEKLY = uuid.UUID(int=11), uuid.UUID(int=12)


def hour(moment: str, **more: Any) -> HourlyUsage:
    values: dict[str, Any] = dict.fromkeys(SUMS, 1)
    values |= {"hour": datetime.fromisoformat(moment).replace(tzinfo=UTC), "project_id": SEARCH, "token_id": NIGHTLY}
    values |= {"route": "chat.completions", "model": "gpt-5", "status_class": 2, "unpriced_requests": 0}
    return HourlyUsage(**values | more)


def day(of: HourlyUsage) -> DailyUsage:
    """The day of an hour that is the only one of its kind in it."""
    values = {column.name: getattr(of, column.name) for column in HourlyUsage.__table__.columns}
    return DailyUsage(day=values.pop("hour").replace(hour=0), **values)


@pytest.fixture
def used(sessions: db.Sessions) -> None:
    """Four hours of two months."""
    with sessions.begin() as session:
        hours = [
            hour("2026-02-28T23:00", requests=2, cost_nano_usd=1_500_000_000),
            hour("2026-03-01T00:00", requests=3, model="gpt-4o", token_id=WEEKLY),
            hour("2026-03-01T23:00", requests=4, project_id=FIND, status_class=5, route="embeddings"),
            hour("2026-03-02T05:00", requests=5, unpriced_requests=5, cost_nano_usd=0, estimated_requests=3),
        ]
        session.add_all([*map(day, hours), *hours])


def sums(api: Api, *groups: str, **query: Any) -> list[Any]:
    """The keys of each group and its requests."""
    wanted = {"group_by": ",".join(groups)} if groups else {}
    items = api.get("usage", **wanted, **query).json["items"]
    return [(*[item[group] for group in groups], item["requests"]) for item in items]


def test_nothing_used_is_a_sum_of_nothing(api: Api) -> None:
    [item] = api.get("usage").json["items"]

    assert {value for name, value in item.items() if name != "cost"} == {0} and item["cost"] == "0.00"


@pytest.mark.usefixtures("used")
def test_without_groups_everything_is_one_sum(api: Api) -> None:
    answer = api.get("usage").json

    others = {name: 4 for name in SUMS if name not in ("requests", "cost_nano_usd")}
    expected = others | {"requests": 14, "cost": "1.500000002", "unpriced_requests": 5, "estimated_requests": 6}
    assert answer == {"items": [expected], "is_cut": False}


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("hour", [("2026-02-28T23", 2), ("2026-03-01T00", 3), ("2026-03-01T23", 4), ("2026-03-02T05", 5)]),
        ("day", [("2026-02-28T00", 2), ("2026-03-01T00", 7), ("2026-03-02T00", 5)]),
        ("month", [("2026-02-01T00", 2), ("2026-03-01T00", 12)]),
    ],
)
def test_times_are_those_of_utc(api: Api, group: str, expected: list[tuple[str, int]]) -> None:
    assert sums(api, group) == [(f"{moment}:00:00+00:00", requests) for moment, requests in expected]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("project", [(str(SEARCH), 10), (str(FIND), 4)]),
        ("token", [(str(NIGHTLY), 11), (str(WEEKLY), 3)]),
        ("model", [("gpt-4o", 3), ("gpt-5", 11)]),
        ("route", [("chat.completions", 10), ("embeddings", 4)]),
        ("status_class", [(2, 10), (5, 4)]),
    ],
)
def test_sums_by_kind(api: Api, group: str, expected: list[tuple[Any, int]]) -> None:
    assert sums(api, group) == expected


@pytest.mark.usefixtures("used")
def test_several_groups_are_sorted_in_their_order(api: Api) -> None:
    assert sums(api, "model", "month", "model") == [
        ("gpt-4o", "2026-03-01T00:00:00+00:00", "gpt-4o", 3),
        ("gpt-5", "2026-02-01T00:00:00+00:00", "gpt-5", 2),
        ("gpt-5", "2026-03-01T00:00:00+00:00", "gpt-5", 9),
    ]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ({"project_id": FIND}, 4),
        ({"token_id": WEEKLY}, 3),
        ({"model": "gpt-4o"}, 3),
        ({"route": "embeddings"}, 4),
        ({"from": "2026-03-01T00:00:00Z"}, 12),
        ({"from": "2026-03-01T01:00:00+01:00", "until": "2026-03-01T23:00:00Z"}, 3),
        ({"until": "2026-02-28T23:00:00Z"}, 0),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_summed(api: Api, query: dict[str, Any], requests: int) -> None:
    assert sums(api, **query) == [(requests,)]


@pytest.mark.usefixtures("used")
def test_a_cost_of_which_nothing_is_known_is_null_and_not_nothing(api: Api) -> None:
    items = api.get("usage", group_by="day").json["items"]

    assert [(item["cost"], item["unpriced_requests"]) for item in items] == [
        ("1.50", 0),
        ("0.000000002", 0),
        (None, 5),
    ]


@pytest.mark.usefixtures("used")
def test_what_is_too_much_is_cut_and_says_so(api: Api) -> None:
    answer = api.get("usage", group_by="hour", limit=3).json

    assert (len(answer["items"]), answer["is_cut"]) == (3, True)
    assert api.get("usage", group_by="hour", limit=4).json["is_cut"] is False


@one_database
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "week"}, "group_by"),
        ({"group_by": "day,cost"}, "group_by"),
        ({"from": "2026-03-01T00:00:00"}, "from"),
        ({"until": "soon"}, "until"),
        ({"token_id": "x"}, "token_id"),
        ({"limit": 1001}, "limit"),
        ({"since": "2026-03-01T00:00:00Z"}, "since"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for_is_refused(api: Api, query: dict[str, Any], field: str) -> None:
    assert faulty(api.get("usage", **query)) == [field]


# Of providers, and as a table


def test_usage_is_summed_by_provider_and_found_by_class(api: Api, sessions: db.Sessions, rows: Rows) -> None:
    openai = rows.project(name="a", provider="openai")
    anthropic = rows.project(name="b", provider="anthropic")
    with sessions.begin() as session:
        hours = [
            hour("2026-03-01T00:00", requests=3, project_id=openai.id),
            hour("2026-03-01T00:00", requests=4, project_id=anthropic.id, status_class=5),
            hour("2026-03-01T01:00", requests=5, project_id=anthropic.id),
        ]
        session.add_all([*map(day, hours), *hours])

    assert sums(api, "provider") == [("anthropic", 9), ("openai", 3)]
    assert sums(api, "status_class", provider="anthropic") == [(2, 5), (5, 4)]
    assert sums(api, "provider", status_class=5) == [("anthropic", 4)]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("query", "headers"), [({"format": "csv"}, {}), ({}, {"accept": "text/csv"})], ids=["format", "accept"]
)
def test_usage_comes_as_a_table_too(api: Api, query: dict[str, str], headers: dict[str, str]) -> None:
    answer = api.send("GET", "usage", headers, query_string={"group_by": "month,route", **query})

    assert answer.content_type == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["month"], row["route"], row["requests"]) for row in table] == [
        ("2026-02-01T00:00:00+00:00", "chat.completions", "2"),
        ("2026-03-01T00:00:00+00:00", "chat.completions", "8"),
        ("2026-03-01T00:00:00+00:00", "embeddings", "4"),
    ]
    assert list(table[0])[:3] == ["month", "route", "requests"] and "day" not in table[0]


@pytest.mark.parametrize("model", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_a_table_is_a_formula(api: Api, sessions: db.Sessions, model: str) -> None:
    with sessions.begin() as session:
        session.add_all([used := hour("2026-03-01T00:00", model=model), day(used)])

    [row] = csv.DictReader(io.StringIO(api.get("usage", group_by="model", format="csv").text))
    assert row["model"] == f"'{model}"


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [("group_by", ""), ("group_by", "day,"), ("format", "xlsx"), ("status_class", 9), ("provider", "\0")],
)
def test_a_faulty_wish_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("usage", **{field: value})) == [field]
