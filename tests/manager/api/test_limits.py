"""Rules of limits over the API: set as a whole, shown as they were set, published at once, audited."""

from typing import Any

import pytest
import redis

from manager.tables import AuditEvent
from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Window
from tests.manager.api.conftest import Api, Published, faulty, problem
from tests.manager.conftest import Rows, one_database

BUDGET = {"measure": "cost", "window": "month", "amount": "12.50"}
RATE = {"measure": "requests", "window": "minute", "amount": 60, "burst": 5, "on_outage": "open"}
LIMITS = (Limit(Measure.COST, Window.MONTH, 12_500_000_000),)
SHOWN = {**BUDGET, "burst": None, "on_outage": "closed"}


def put(api: Api, *limits: dict[str, Any]) -> Any:
    return api.send("PUT", "limits", json={"limits": list(limits)})


def changes(rows: Rows) -> list[tuple[Any, Any, Any]]:
    """What the audit says of limits: whose, and which amounts they had and have."""
    found = [row for row in rows.all(AuditEvent) if row.action == "limits.change"]
    amounts = [[[limit["amount"] for limit in row.detail[when]] for when in ("before", "after")] for row in found]
    return [(row.project_id, row.token_id, told) for row, told in zip(found, amounts, strict=True)]


# Everything together


def test_at_first_there_are_no_limits(api: Api) -> None:
    assert api.get("limits").json == {"limits": []}


def test_limits_of_everything_are_replaced_as_a_whole(api: Api, redis_client: redis.Redis, rows: Rows) -> None:
    answers = [put(api, BUDGET), put(api, RATE)]

    assert [answer.json for answer in answers] == [{"limits": [SHOWN]}, {"limits": [RATE]}]
    assert api.get("limits").json == {"limits": [RATE]}
    [limit] = limits_schema.decode_limits(redis_client.get(redis_schema.GLOBAL_LIMITS))
    assert (limit.amount, limit.burst) == (60, 5)
    assert changes(rows) == [(None, None, [[], ["12.50"]]), (None, None, [["12.50"], [60]])]


def test_limits_that_stay_the_same_are_no_change_for_the_audit(api: Api, rows: Rows) -> None:
    put(api, BUDGET)
    put(api, BUDGET)

    assert len(changes(rows)) == 1


def test_no_limits_take_them_all_off(api: Api, redis_client: redis.Redis) -> None:
    put(api, BUDGET)

    assert put(api).json == {"limits": []}
    assert limits_schema.decode_limits(redis_client.get(redis_schema.GLOBAL_LIMITS)) == ()


def test_without_redis_limits_are_stored_and_pending(lonely: Api) -> None:
    assert problem(put(lonely, BUDGET)) == (503, "publish_pending")
    assert lonely.get("limits").json == {"limits": [SHOWN]}


# Projects and tokens


def test_a_project_is_made_with_limits_and_they_are_changed(api: Api, published: Published, rows: Rows) -> None:
    made = api.project(limits=[BUDGET])
    changed = api.patch(f"projects/{made['id']}", limits=[RATE])

    assert (made["limits"], changed.json["limits"]) == ([SHOWN], [RATE])
    assert [limit.amount for limit in published.project(made["id"]).limits] == [60]
    [(project_id, token_id, amounts)] = changes(rows)
    assert (str(project_id), token_id, amounts) == (made["id"], None, [["12.50"], [60]])


def test_a_token_is_made_with_limits_and_they_are_changed(api: Api, published: Published, rows: Rows) -> None:
    project = api.project()
    made = api.token(project["id"], limits=[BUDGET])
    before = published.limits(made["token"])
    changed = api.patch(f"tokens/{made['id']}", limits=[RATE])

    assert (made["limits"], before, changed.json["limits"]) == ([SHOWN], LIMITS, [RATE])
    assert api.get(f"tokens/{made['id']}").json["limits"] == [RATE]
    [(project_id, token_id, amounts)] = changes(rows)
    assert (str(project_id), str(token_id), amounts) == (project["id"], made["id"], [["12.50"], [60]])


def test_limits_that_are_left_out_stay(api: Api, rows: Rows) -> None:
    project = api.project(limits=[BUDGET])
    token = api.token(project["id"], limits=[BUDGET])

    found = [api.patch(f"projects/{project['id']}", name="x"), api.patch(f"tokens/{token['id']}", label="x")]

    assert [answer.json["limits"] for answer in found] == [[SHOWN], [SHOWN]]
    assert changes(rows) == []


# What is refused

NO_LIMITS: dict[str, Any] = {
    "no list": {},
    "no object": [7],
    "no amount": [{"measure": "tokens", "window": "day"}],
    "unknown measure": [BUDGET | {"measure": "sheep"}],
    "unknown window": [BUDGET | {"window": "year"}],
    "unknown field": [BUDGET | {"per": "day"}],
    "unknown behaviour": [BUDGET | {"on_outage": "maybe"}],
    "a truth": [RATE | {"amount": True}],
    "a fraction": [RATE | {"amount": 1.5}],
    "a burst in a text": [RATE | {"burst": "5"}],
    "no pair": [BUDGET | {"window": "second"}],
    "twice": [BUDGET, BUDGET],
    "money as a number": [BUDGET | {"amount": 12}],
    "too many": [RATE] * 21,
}


@one_database
@pytest.mark.parametrize("limits", NO_LIMITS.values(), ids=NO_LIMITS)
def test_what_is_no_limit_is_refused_everywhere(api: Api, limits: Any) -> None:
    project = api.project()
    token = api.token(project["id"])

    answers = [
        api.send("PUT", "limits", json={"limits": limits}),
        api.patch(f"projects/{project['id']}", limits=limits),
        api.patch(f"tokens/{token['id']}", limits=limits),
        api.post("tokens", project_id=project["id"], expires_in=60, limits=limits),
        api.post("projects", name="other", api_key="sk-proj-0123456789abcdef", limits=limits),
    ]

    assert [faulty(answer) for answer in answers] == [["limits"]] * 5


@one_database
def test_an_error_names_the_entry(api: Api) -> None:
    answer = put(api, RATE, BUDGET | {"window": "minute"})

    assert answer.json["errors"] == {"limits": ["Entry 2 (cost per minute): cost can be limited per life, day, month."]}


@one_database
def test_the_api_describes_amounts_as_numbers_and_texts(api: Api) -> None:
    schemas = api.get("openapi.json").json["components"]["schemas"]

    amount = schemas["LimitShape"]["properties"]["amount"]
    assert amount["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    assert schemas["ProjectView"]["properties"]["limits"]["items"] == {"$ref": "#/components/schemas/LimitShape"}
