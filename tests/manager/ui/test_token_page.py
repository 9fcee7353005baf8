"""Rules of a token's page: what it is, how much of it is used, and what happened lately."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis

from manager import db, rollup
from manager.tables import new_id
from shared import limits_schema, redis_schema
from shared.models import Measure, Scope, Window
from tests.manager.api.conftest import Api
from tests.manager.conftest import EVENT, NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Seen
from tests.manager.ui.test_token_new import signed_in
from tests.shared.limit_scripts import counter

pytestmark = one_database
BUDGET = {"measure": "tokens", "window": "life", "amount": 1000}


@pytest.fixture
def project(api: Api) -> dict[str, Any]:
    return api.project("search team")


def used(sessions: db.Sessions, token: dict[str, Any], *, ago: timedelta = timedelta(), **more: Any) -> str:
    """A request of a token, which cost a quarter of a dollar; its id."""
    known = {"project_id": token["project_id"], "token_id": token["id"], "request_id": str(new_id())}
    event = replace(EVENT, **{**known, "occurred_at": datetime.now(UTC) - ago, **more})
    row = {**rollup.request_row(event), "cost_nano_usd": 250_000_000}
    db.transact(sessions, lambda session: rollup.record(session, [row]))
    return event.request_id


def facts(page: Seen) -> dict[str, str]:
    """The facts of a page by their names."""
    return dict(zip(page.texts(".facts dt"), page.texts(".facts dd"), strict=True))


def chart(page: Seen, title: str) -> list[str]:
    """The rows of a chart's table."""
    [found] = [figure for figure in page.all("figure.chart") if title in figure.get_text()]
    return [" ".join(row.get_text(" ").split()) for row in found.select("tbody tr")]


def test_the_page_says_what_a_token_is(browse: Browse, api: Api, project: Any) -> None:
    policy = {"allowed_models": ["gpt-5*"], "max_values": {"max_tokens": 4096}}
    token = api.token(project["id"], label="nightly", max_requests=100, policy=policy)

    page = browse("auditor").get(f"/ui/tokens/{token['id']}")

    said = facts(page)
    assert page.texts("main h1") == ["nightly"]
    assert (said["State"], said["Project"], said["Token"]) == ("active", "search team", token["masked_token"])
    assert (said["Allowed models"], said["Highest values"]) == ("gpt-5*", "max_tokens 4,096")
    assert (said["Last used"], said["Requests"]) == ("never", "0")
    assert page.one(".facts a")["href"] == f"/ui/projects/{project['id']}"
    assert page.one(".facts [data-copy]")["data-copy"] == token["id"]


def test_a_token_without_label_is_called_by_its_mask(browse: Browse, api: Api, project: Any) -> None:
    token = api.token(project["id"])

    assert browse().get(f"/ui/tokens/{token['id']}").texts("main h1") == [token["masked_token"]]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("revoked", "This token was revoked."),
        ("expired", "This token has expired."),
        ("inactive", "This token is switched off."),
        ("exhausted", "This token is used up."),
        ("active", None),
    ],
)
def test_a_state_in_which_it_is_refused_is_said_with_what_to_do(
    browse: Browse, rows: Rows, state: str, said: str | None
) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    columns: dict[str, dict[str, Any]] = {
        "revoked": {"revoked_at": past, "is_active": False},
        "expired": {"expires_at": past},
        "inactive": {"is_active": False},
        "exhausted": {"max_requests": 3, "request_count": 3},
        "active": {},
    }
    token = rows.token(rows.project(), published_version=1, **columns[state])

    page = browse().get(f"/ui/tokens/{token.id}")

    assert facts(page)["State"] == state
    assert page.texts("main > .alert strong") == ([said] if said else [])
    assert bool(page.all(".page-actions a")) == (state != "revoked")


def test_a_token_of_a_project_that_is_off_says_so(browse: Browse, api: Api, project: Any) -> None:
    token = api.token(project["id"])
    api.post(f"projects/{project['id']}/deactivate")

    assert "Its project is not active." in browse().get(f"/ui/tokens/{token['id']}").text


def test_limits_are_shown_with_what_was_used_of_them(
    browse: Browse, api: Api, redis_client: redis.Redis, rows: Rows
) -> None:
    cost = {"measure": "cost", "window": "month", "amount": "500"}
    project = api.project(limits=[cost])
    token = api.token(project["id"], limits=[BUDGET, {"measure": "requests", "window": "minute", "amount": 60}])
    redis_client.hset(redis_schema.used_key(Scope.TOKEN, token["id"]), "tokens:life", counter(250, 0))
    field = limits_schema.field_of(Measure.COST, Window.MONTH, project["id"])
    month = limits_schema.period_of(Window.MONTH, datetime.now(UTC))
    redis_client.hset(redis_schema.used_key(Scope.PROJECT, project["id"]), field, counter(450_000_000_000, month))

    page = browse().get(f"/ui/tokens/{token['id']}")

    own, shared = ([" ".join(row.get_text(" ").split()) for row in each.select("tbody tr")] for each in tables(page))
    assert own == [
        "1,000 tokens in all 250 25 % refuses",
        "60 requests per minute – comes back all the time refuses",
    ]
    assert shared == ["$500.00 per month $450.00 90 % refuses"]


def tables(page: Seen) -> list[Any]:
    return page.all("#limits table")


def test_the_most_requests_are_a_limit_like_others(browse: Browse, rows: Rows) -> None:
    token = rows.token(rows.project(), max_requests=200, request_count=50)

    [own] = tables(browse().get(f"/ui/tokens/{token.id}"))

    assert " ".join(own.select_one("tbody").get_text(" ").split()) == "200 requests in all 50 25 % refuses"


def test_a_page_without_redis_tells_the_rest(serve: Serve, database_url: str, api: Api, project: Any) -> None:
    token = api.token(project["id"], label="nightly", limits=[BUDGET])
    browser = signed_in(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY))

    page = browser.get(f"/ui/tokens/{token['id']}")

    assert page.status == 200 and "1,000 tokens in all – not known" in page.text


def test_usage_is_shown_by_hour_and_by_day(browse: Browse, api: Api, project: Any, sessions: db.Sessions) -> None:
    token, other = api.token(project["id"]), api.token(project["id"])
    used(sessions, token)
    used(sessions, token, status=500)
    used(sessions, token, ago=timedelta(days=3))
    used(sessions, token, ago=timedelta(days=40))
    used(sessions, other)

    page = browse().get(f"/ui/tokens/{token['id']}")

    [hour] = chart(page, "Requests by hour")
    assert hour.endswith("1 1")
    days = chart(page, "Requests by day")
    assert [day.split(maxsplit=1)[1] for day in days] == ["1 0", "1 1"]
    assert [each.rpartition(" ")[2] for each in chart(page, "Cost by day")] == ["$0.25", "$0.50"]
    assert chart(page, "Tokens by hour")[0].endswith("20 40")


def test_the_last_ten_requests_are_shown(browse: Browse, api: Api, project: Any, sessions: db.Sessions) -> None:
    token, other = api.token(project["id"]), api.token(project["id"])
    for number in range(12):
        used(sessions, token, model=f"model-{number:02}", ago=timedelta(minutes=20 - number))
    used(sessions, other, model="another's")

    page = browse().get(f"/ui/tokens/{token['id']}")

    models = page.texts("#requests tbody td:nth-of-type(1)")
    assert models == [f"model-{number:02}" for number in reversed(range(2, 12))]


def test_the_audit_of_a_token_is_shown_to_whoever_may_see_the_token(browse: Browse, api: Api, project: Any) -> None:
    token = api.token(project["id"])
    api.patch(f"tokens/{token['id']}", label="weekly")
    api.token(project["id"])

    page = browse("auditor", project_ids=[project["id"]]).get(f"/ui/tokens/{token['id']}")

    assert page.texts("#audit tbody code") == ["token.update", "token.create"]


def test_a_page_of_nothing_yet_says_so(browse: Browse, api: Api, project: Any) -> None:
    page = browse().get(f"/ui/tokens/{api.token(project['id'])['id']}")

    assert "No requests lately." in page.text and "Nothing in this time." in page.text


def test_whoever_may_only_look_is_offered_no_change(browse: Browse, api: Api, project: Any) -> None:
    path = f"/ui/tokens/{api.token(project['id'])['id']}"

    assert not browse("auditor").get(path).all(".page-actions a")
    assert [str(each["href"]) for each in browse("operator").get(path).all(".page-actions a")] == [
        f"{path}/edit", f"{path}/refresh", f"{path}/revoke"
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["", "/edit", "/refresh", "/revoke"])
def test_tokens_out_of_scope_are_as_if_they_were_not(browse: Browse, api: Api, project: Any, part: str) -> None:
    token = api.token(project["id"])
    browser = browse("operator", project_ids=[api.project("mine")["id"]])

    assert browser.get(f"/ui/tokens/{token['id']}{part}").status == 404
    assert browser.get(f"/ui/tokens/{uuid4()}{part}").status == 404
