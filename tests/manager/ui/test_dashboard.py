"""Rules of the dashboard: what went on in the range and the projects that somebody sees, and what needs somebody."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from manager import db, rollup
from manager.tables import JobRun, Token
from manager.ui.memory import Memory
from shared import limits_schema, redis_schema
from shared.models import Measure, Outcome, Scope, Window
from tests.manager.api.conftest import Api, set_aside
from tests.manager.conftest import EVENT, NOBODY, Serve, one_database
from tests.manager.live_workers import Workers, running
from tests.manager.ui.conftest import Browse, Browser, Seen
from tests.shared.limit_scripts import counter

pytestmark = one_database

type Record = Callable[..., None]


@pytest.fixture
def record(sessions: db.Sessions) -> Record:
    """Records requests of a token, as the collector does: so many minutes ago, at a cost in nano-USD."""
    number = 0

    def record(token: dict[str, Any], count: int = 1, minutes: float = 1, cost: int | None = None, **more: Any) -> None:
        nonlocal number
        rows = []
        for _ in range(count):
            number += 1
            moment = datetime.now(UTC) - timedelta(minutes=minutes)
            ids = {"project_id": token["project_id"], "token_id": token["id"]}
            own = {"request_id": f"r{number}", "occurred_at": moment, "sequence": number}
            event = replace(EVENT, **own | ids | more)
            rows.append(rollup.request_row(event) | {"cost_nano_usd": cost})
        with sessions.begin() as session:
            rollup.record(session, rows)

    return record


@pytest.fixture
def token(api: Api) -> dict[str, Any]:
    return api.token(api.project("search")["id"], label="nightly")


def numbers(page: Seen) -> dict[str, str]:
    """What stands in large letters, by what it is."""
    return dict(zip(page.texts("#numbers dt"), page.texts("#numbers dd"), strict=True))


def drawn(page: Seen, chart: str) -> dict[str, list[str]]:
    """What a chart is drawn of: the amounts of each series, as scripts read them, – where they are not known."""
    names = page.texts(f"#{chart} thead th")[1:]
    rows = [
        [str(cell.get("data-value", cell.get_text())) for cell in row.select("td")]
        for row in page.all(f"#{chart} tbody tr")
    ]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else dict.fromkeys(names, [])


def health(page: Seen) -> dict[str, str]:
    """How each part is, in a word."""
    return dict(zip(page.texts(".health-part"), page.texts(".health .state"), strict=True))


def test_the_first_page_is_the_dashboard(browse: Browse) -> None:
    assert browse().get("/ui/").goes_to == "/ui/dashboard"


def test_who_begins_is_told_what_to_do_first(
    browse: Browse, api: Api, record: Record, sessions: db.Sessions, memory: Memory
) -> None:
    browser = browse()
    first = browser.get("/ui/dashboard")
    token = api.token(api.project("search")["id"])
    memory.forget()
    second = browser.get("/ui/dashboard")
    record(token)
    memory.forget()

    assert "Create a project" in first.one(".first-steps").get_text()
    assert "http://127.0.0.1:8080 , with the provider" in first.text
    assert (len(first.all(".first-steps .is-done")), len(second.all(".first-steps .is-done"))) == (0, 2)
    assert numbers(first)["Requests"] == "0" and "Nothing in this time." in first.text
    assert browser.get("/ui/dashboard").all(".first-steps") == []


def test_requests_are_counted_by_how_they_ended(browse: Browse, token: dict[str, Any], record: Record) -> None:
    record(token, 6, minutes=5)
    record(token, 2, minutes=5, status=500)
    record(token, 1, minutes=5, status=0, outcome=Outcome.CLIENT_ABORTED)
    record(token, 1, minutes=200)

    page = browse().get("/ui/dashboard")

    assert numbers(page) | {"Tokens": "", "Cost": "", "Running now": ""} == {
        "Requests": "9",
        "Failed": "22.2 % 2 requests",
        "Tokens": "",
        "Cost": "",
        "Running now": "",
    }
    assert drawn(page, "requests") == {
        "ok": ["0.100"],
        "client aborted": ["0.0167"],
        "provider 5xx": ["0.0333"],
    }


def test_tokens_money_and_times_are_drawn(browse: Browse, token: dict[str, Any], record: Record) -> None:
    record(token, 2, minutes=5, cost=1_500_000)
    record(token, 1, minutes=3, first_byte_ms=None, duration_ms=100.0)

    page = browse().get("/ui/dashboard")

    assert drawn(page, "tokens") == {"prompt": ["20", "10"], "completion": ["40", "20"]}
    assert drawn(page, "money") == {"cost": ["$0.00300", "–"]}  # What the other one cost, nobody knows.
    times = drawn(page, "latency")
    assert list(times) == ["p50", "p95", "p99", "first byte p50", "first byte p95", "first byte p99"]
    assert 700 < float(times["p50"][0]) < 950 and 90 < float(times["p50"][1]) < 115
    assert times["first byte p50"][1] == "–"
    assert (numbers(page)["Tokens"], numbers(page)["Cost"]) == ("90", "$0.00300 as far as it is known")


@pytest.mark.parametrize(
    ("asked", "count", "step", "rows"), [("hour", 2, "60", 60), ("day", 3, "3600", 24), ("month", 4, "86400", 30)]
)
def test_the_range_is_chosen(
    browse: Browse, token: dict[str, Any], record: Record, asked: str, count: int, step: str, rows: int
) -> None:
    for minutes in (1, 10, 300, 2000):
        record(token, minutes=minutes)

    page = browse().get("/ui/dashboard", range=asked)
    table = page.one("#requests")

    assert (numbers(page)["Requests"], table["data-step"]) == (str(count), step)
    assert int(str(table["data-until"])) - int(str(table["data-since"])) == rows * int(step) * 1000
    assert page.one(".ranges [aria-current]").get_text() == asked.capitalize()
    assert f"range={asked}" in str(page.one("[data-live]")["data-live"])


@pytest.mark.parametrize("asked", ["", "year", "hour ", "\0"], ids=["nothing", "unknown", "space", "nul"])
def test_of_ranges_that_do_not_exist_the_hour_is_shown(browse: Browse, asked: str) -> None:
    assert browse().get("/ui/dashboard", range=asked).one(".ranges [aria-current]").get_text() == "Hour"


@pytest.mark.parametrize("by", ["name", "id"])
def test_one_project_is_chosen(browse: Browse, api: Api, token: dict[str, Any], record: Record, by: str) -> None:
    other = api.project("chat")
    record(token, 3)
    record(api.token(other["id"]), 1)

    page = browse().get("/ui/dashboard", project=other[by])

    assert numbers(page)["Requests"] == "1"
    assert "What goes on in chat." in page.text
    assert page.texts("#tops section:first-child tbody th") == ["chat"]
    assert page.one("#project")["value"] == "chat"
    assert [str(each["value"]) for each in page.all("datalist option")] == ["chat", "search"]


@pytest.mark.parametrize("wanted", ["nobody", "019a0000-0000-7000-8000-000000000001", "\0", "<b>" * 100])
def test_a_project_that_is_not_there_is_told(
    browse: Browse, token: dict[str, Any], record: Record, wanted: str
) -> None:
    record(token)

    page = browse().get("/ui/dashboard", project=wanted)

    assert (page.status, numbers(page)["Requests"]) == (200, "0")
    assert "There is no project" in page.one("main .alert-warning").get_text()


def test_who_sees_some_projects_sees_these_only(
    browse: Browse, api: Api, token: dict[str, Any], record: Record
) -> None:
    hidden = api.token(
        api.project("concealed", limits=[{"measure": "cost", "window": "month", "amount": "5.00"}])["id"]
    )
    record(token, 2)
    record(hidden, 5, cost=1000)

    browser = browse("auditor", project_ids=[token["project_id"]])
    page = browser.get("/ui/dashboard")

    assert numbers(page)["Requests"] == "2"
    assert "concealed" not in page.answer.text
    assert list(health(page)) == ["Keys"]
    assert "There is no project concealed" in browser.get("/ui/dashboard", project="concealed").text


def test_what_was_used_most_comes_first(browse: Browse, api: Api, token: dict[str, Any], record: Record) -> None:
    dear = api.token(api.project("chat")["id"], label="dear")
    record(token, 4, cost=10)
    record(dear, 1, cost=5000, model="gpt-5")
    record({**token, "id": "019a0000-0000-7000-8000-000000000001"}, 1)

    page = browse().get("/ui/dashboard")

    assert page.texts("#tops section:nth-child(1) tbody th") == ["chat", "search"]
    assert page.texts("#tops section:nth-child(2) tbody th") == ["gpt-5", "gpt-5-mini"]
    assert page.texts("#tops section:nth-child(3) tbody th") == ["dear", "nightly", "purged"]
    assert page.texts("#tops section:nth-child(3) tbody td:last-child") == ["<$0.0001", "<$0.0001", "–"]


def test_limits_and_tokens_that_need_somebody_are_told(
    browse: Browse, api: Api, sessions: db.Sessions, redis_client: redis.Redis
) -> None:
    limits = [{"measure": "cost", "window": "month", "amount": "5.00"}]
    project = api.project("search", limits=limits)
    api.token(project["id"], label="nearly", max_requests=10, expires_in="PT2H")
    api.token(project["id"], label="fresh", max_requests=10, expires_in="P20D")
    with sessions.begin() as session:
        session.execute(sa.update(Token).where(Token.label == "nearly").values(request_count=9))
    field = limits_schema.field_of(Measure.COST, Window.MONTH, project["id"])
    month = limits_schema.period_of(Window.MONTH, datetime.now(UTC))
    redis_client.hset(redis_schema.used_key(Scope.PROJECT, project["id"]), field, counter(4_500_000_000, month))

    page = browse().get("/ui/dashboard")

    near, used_up, expiring = (" ".join(each.get_text(" ").split()) for each in page.all("#attention section"))
    assert near == "Limits nearly reached search cost per month $4.50 of $5.00"
    assert used_up == "Tokens nearly used up nearly search 9 of 10"
    assert "nearly search" in expiring and "fresh" not in expiring


def test_health_tells_what_is_well_and_what_is_not(
    app: Flask, browse: Browse, api: Api, redis_client: redis.Redis, sessions: db.Sessions
) -> None:
    app.extensions["llm_proxy"].publisher.republish_all()
    key = api.project("search")["keys"][0]
    set_aside(redis_client, redis_schema.key_subject(key["id"]), "status_401")
    set_aside(redis_client, redis_schema.origin_subject("https://api.example.com/v1"), "refused")
    Workers(redis_client).appear("w1")
    now = datetime.now(UTC)
    with sessions.begin() as session:
        session.add(JobRun(name="backup", started_at=now, ended_at=now, outcome="failure", report={}, reason="full"))

    page = browse("auditor").get("/ui/dashboard")

    assert health(page) == {
        "Database": "ok",
        "Redis": "ok",
        "Workers": "ok",
        "Providers": "set aside",
        "Keys": "set aside",
        "Usage": "ok",
        "Changes": "ok",
        "Jobs": "failed",
    }
    assert "https://api.example.com" in page.text and "backup" in page.one("#health").get_text()
    assert f"search ({key['masked_key']})" in page.one("#health").get_text()


def test_what_runs_is_counted(browse: Browse, api: Api, redis_client: redis.Redis, token: dict[str, Any]) -> None:
    workers = Workers(redis_client)
    workers.tell("w1", running("r1", project_id=token["project_id"]), running("r2"))

    assert numbers(browse().get("/ui/dashboard"))["Running now"] == "2"
    assert numbers(browse().get("/ui/dashboard", project="search"))["Running now"] == "1"


def test_without_redis_there_are_figures_of_what_was(
    serve: Serve, database_url: str, token: dict[str, Any], record: Record
) -> None:
    record(token, 3)
    browser = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    assert browser.sign_in("management-0123456789-abcdefghijkl").status == 303

    page = browser.get("/ui/dashboard")

    assert (numbers(page)["Requests"], numbers(page)["Running now"]) == ("3", "–")
    assert health(page)["Redis"] == "down"


def test_rare_ends_are_drawn_together(browse: Browse, token: dict[str, Any], record: Record) -> None:
    for number in range(10):
        record(token, number + 1, minutes=5, status=400, error_code=f"error_{number}")

    found = drawn(browse().get("/ui/dashboard"), "requests")

    assert list(found) == ["ok", *(f"error {number}" for number in range(4, 10)), "others"]
    assert float(found["others"][0]) == pytest.approx((1 + 2 + 3 + 4) / 60, rel=0.01)


def test_a_project_whose_name_looks_like_an_id_is_found_by_its_name(browse: Browse, api: Api) -> None:
    name = "00000000-0000-4000-8000-000000000000"
    api.project(name)

    assert f"There is no project {name}" not in browse().get("/ui/dashboard", project=name).text
