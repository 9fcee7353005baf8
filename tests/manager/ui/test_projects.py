"""Rules of the list of projects and of a project's page: what is there is shown, and nothing that is not one's own."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from manager import db, rollup
from manager.tables import Project, new_id
from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Scope, Window
from shared.redis_schema import key_subject
from tests.manager.api.conftest import PROVIDER_KEY, Api, set_aside
from tests.manager.conftest import EVENT, NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser
from tests.shared.limit_scripts import counter

pytestmark = one_database
LONG = "Ein Team mit einem sehr langen Namen " * 5
RTL = "פרויקט עם שם בעברית 🚀"


def used(sessions: db.Sessions, project_id: str, token_id: str, **more: Any) -> None:
    """A request of today, which cost a quarter of a dollar."""
    event = replace(EVENT, request_id=str(new_id()), project_id=project_id, token_id=token_id, **more)
    row = {**rollup.request_row(replace(event, occurred_at=datetime.now(UTC))), "cost_nano_usd": 250_000_000}
    db.transact(sessions, lambda session: rollup.record(session, [row]))


# The list


def test_projects_are_listed_newest_first(browse: Browse, api: Api, sessions: db.Sessions) -> None:
    first, second = api.project("search team"), api.project(RTL, provider="anthropic")
    api.post(f"projects/{second['id']}/keys", api_key=f"{PROVIDER_KEY}-2")
    used(sessions, first["id"], str(new_id()))

    page = browse("auditor").get("/ui/projects")

    assert page.texts("tbody tr th") == [RTL, "search team"]
    [row, other] = [[" ".join(cell.get_text(" ").split()) for cell in row.select("td")] for row in page.all("tbody tr")]
    assert row[:5] == ["anthropic", "active", "2 ok", "0", "$0.00"]
    assert other[:5] == ["openai", "active", "1 ok", "1", "$0.25"]


def test_the_list_is_filtered_and_sorted(browse: Browse, api: Api) -> None:
    for name in ("beta", "alpha", "gamma ray"):
        api.project(name)
    api.post(f"projects/{api.project('omega')['id']}/deactivate")
    api.delete(f"projects/{api.project('gone')['id']}")
    browser = browse("auditor")

    def names(**query: str) -> list[str]:
        return browser.get("/ui/projects", **query).texts("tbody tr th")

    assert names(sort="name") == ["alpha", "beta", "gamma ray", "omega"]
    assert names(name_contains="a r", is_active="", provider="") == ["gamma ray"]
    assert names(is_active="false") == ["omega"]
    assert names(deleted="true") == ["gone"]
    assert names(provider="anthropic") == []


def test_filters_show_what_was_asked_for(browse: Browse, api: Api) -> None:
    api.project("beta")

    page = browse("auditor").get("/ui/projects", name_contains="be", is_active="true", sort="name")

    assert page.one("#field-name_contains")["value"] == "be"
    assert page.one("#field-is_active option[selected]")["value"] == "true"
    assert page.one(".filters [name=sort]")["value"] == "name"
    assert page.one(".filter-actions a")["href"] == "/ui/projects"


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"is_active": "perhaps"}, "#field-is_active-error"),
        ({"name_contains": "x" * 201}, "#field-name_contains-error"),
        ({"sort": "colour"}, ".alert"),
        ({"colour": "red"}, ".alert"),
        ({"cursor": "nonsense"}, ".alert"),
        ({"limit": "9999"}, ".alert"),
        ({"name_contains": ["a", "b"]}, "#field-name_contains-error"),
        ({"name_contains": "a\0b"}, "#field-name_contains-error"),
    ],
    ids=["truth", "length", "sort", "unknown", "cursor", "limit", "twice", "control"],
)
def test_a_bad_question_is_answered_with_what_is_wrong(browse: Browse, api: Api, query: Any, where: str) -> None:
    api.project("beta")

    page = browse("auditor").get("/ui/projects", **query)

    assert page.status == 422 and page.one(where).get_text().strip() and not page.all("tbody tr")


def test_pages_go_on_by_cursors(browse: Browse, api: Api) -> None:
    for number in range(3):
        api.project(f"project {number}")
    browser = browse("auditor")

    first = browser.get("/ui/projects", limit="2", sort="name")
    second = browser.get(str(first.one(".pager [rel=next]")["href"]))

    assert first.texts("tbody tr th") == ["project 0", "project 1"]
    assert second.texts("tbody tr th") == ["project 2"] and second.texts(".pager a") == ["First page"]


def test_who_may_see_some_projects_only_sees_those(browse: Browse, api: Api) -> None:
    mine, other = api.project("mine")["id"], api.project("other")["id"]
    browser = browse("operator", project_ids=[mine])

    page = browser.get("/ui/projects")

    assert page.texts("tbody tr th") == ["mine"] and not page.all("a[href='/ui/projects/new']")
    assert browser.get(f"/ui/projects/{mine}").status == 200
    for path in ("", "/edit", "/delete", "/deactivate", "/revoke-tokens", "/keys/new"):
        assert browser.get(f"/ui/projects/{other}{path}").status == 404
    assert browser.get("/ui/projects/new").status == 403
    assert browser.post("/ui/projects/new", name="x", provider="openai", api_key=PROVIDER_KEY).status == 403


def test_without_projects_one_is_told_what_to_do(browse: Browse, api: Api) -> None:
    assert browse("operator").get("/ui/projects").one(".empty a")["href"] == "/ui/projects/new"
    assert not browse("auditor").get("/ui/projects").all(".empty a")
    api.project()
    assert browse().get("/ui/projects", name_contains="nobody").one(".empty a")["href"] == "/ui/projects"


def test_the_list_tells_of_the_worst_key(browse: Browse, api: Api, redis_client: redis.Redis) -> None:
    project = api.project()
    api.post(f"projects/{project['id']}/keys", api_key=f"{PROVIDER_KEY}-2")
    set_aside(redis_client, key_subject(project["keys"][0]["id"]), "status_401")

    assert "2 set aside" in browse("auditor").get("/ui/projects").text


def test_the_number_of_queries_does_not_grow_with_the_list(browse: Browse, api: Api, app: Any) -> None:
    browser = browse("auditor")
    for number in range(3):
        api.project(f"project {number}")
    few = queries(app, browser, "/ui/projects")
    for number in range(3, 20):
        api.project(f"project {number}")

    assert queries(app, browser, "/ui/projects") == few


def queries(app: Any, browser: Browser, path: str) -> int:
    """How many statements a page takes."""
    said: list[str] = []
    engine = app.extensions["llm_proxy"].engine

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        assert browser.get(path).status == 200
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return len(said)


# The page of one


def test_a_project_shows_what_it_is(browse: Browse, api: Api, sessions: db.Sessions, redis_client: redis.Redis) -> None:
    policy = {"allowed_models": ["gpt-4o*"], "max_values": {"max_tokens": 4096}}
    limits = [
        {"measure": "cost", "window": "month", "amount": "500.00"},
        {"measure": "requests", "window": "minute", "amount": 60},
    ]
    made = api.project("search team", policy=policy, limits=limits, features={"retries": False})
    token = api.token(made["id"], label="nightly")
    used(sessions, made["id"], token["id"], model="gpt-4o-mini")
    month = limits_schema.period_of(Window.MONTH, datetime.now(UTC))
    cost = Limit(Measure.COST, Window.MONTH, 500_000_000_000)
    field = limits_schema.field_of(cost.measure, cost.window, made["id"])
    redis_client.hset(redis_schema.used_key(Scope.PROJECT, made["id"]), field, counter(450_000_000_000, month))

    page = browse("auditor").get(f"/ui/projects/{made['id']}")

    facts = page.one("#facts").get_text(" ")
    assert all(part in facts for part in ("openai", "https://api.openai.com", "gpt-4o*", "max_tokens", "Retries: off"))
    assert page.texts("[aria-label='Limits of the project'] tbody tr") == [
        "$500.00 per month $450.00 90 % refuses",
        "60 requests per minute – comes back all the time refuses",
    ]
    assert page.one("meter")["value"] == "0.9"
    assert "$0.25" in page.one("#month").get_text(" ")
    [key] = page.texts("#keys tbody tr")
    assert made["api_key"] in key and "ok" in key
    assert page.texts("#tokens tbody th") == ["nightly"]
    [request] = page.texts("#requests tbody tr")
    assert all(part in request for part in ("nightly", "gpt-4o-mini", "200", "finished", "$0.25"))
    assert page.texts("#audit tbody code") == ["token.create", "project.create"]
    assert PROVIDER_KEY not in page.answer.text


def test_an_auditor_is_shown_nothing_that_changes(browse: Browse, api: Api) -> None:
    project = api.project()

    page = browse("auditor").get(f"/ui/projects/{project['id']}")

    assert page.status == 200 and not page.all("main form")
    hrefs = [str(link["href"]) for link in page.all("main a")]
    assert not [href for href in hrefs if any(word in href for word in ("edit", "delete", "revoke", "new", "rotate"))]


def test_an_operator_is_shown_what_may_be_done(browse: Browse, api: Api) -> None:
    project = api.project()

    page = browse("operator").get(f"/ui/projects/{project['id']}")

    hrefs = " ".join(str(link["href"]) for link in page.all("main a"))
    for part in ("/edit", "/delete", "/deactivate", "/revoke-tokens", "/keys/new", "/rotate"):
        assert part in hrefs
    assert "/purge" not in hrefs


def test_a_deleted_project_can_only_be_read_and_purged(browse: Browse, api: Api) -> None:
    project = api.project()
    api.delete(f"projects/{project['id']}")
    path = f"/ui/projects/{project['id']}"

    page = browse("admin").get(path)

    assert "This project was deleted." in page.text
    assert [str(a["href"]) for a in page.all("main a") if path in str(a["href"])] == [f"{path}/purge"]
    operator = browse("operator")
    assert "An admin can purge it" in operator.get(path).text
    assert [operator.get(f"{path}/{part}").status for part in ("edit", "delete", "keys/new", "purge")] == [409] * 3 + [
        403
    ]


def test_a_project_is_shown_while_redis_is_away(serve: Serve, database_url: str, api: Api, browse: Browse) -> None:
    project = api.project(limits=[{"measure": "cost", "window": "month", "amount": "500.00"}])
    lonely = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    assert lonely.sign_in(api.operator("auditor").bearer).status == 303

    page = lonely.get(f"/ui/projects/{project['id']}")

    assert page.status == 200 and "not known" in page.one("[aria-label='Limits of the project']").get_text()
    assert "unknown" in page.one("#keys").get_text() and "unknown" in lonely.get("/ui/projects").text


def test_what_is_not_published_yet_is_said(browse: Browse, api: Api, rows: Rows) -> None:
    project = api.project()
    [row] = rows.all(Project)
    rows.change(row, version=row.version + 1)

    assert "reaches the proxy as soon as Redis is back" in browse("auditor").get(f"/ui/projects/{project['id']}").text


def test_there_is_no_page_of_what_is_not_there(browse: Browse) -> None:
    assert browse("auditor").get(f"/ui/projects/{UUID(int=1)}").status == 404


@pytest.mark.parametrize("name", [LONG.strip()[:200], RTL, "<script>alert(1)</script>", "a & b \"c\" 'd'"])
def test_names_are_shown_as_they_are(browse: Browse, api: Api, name: str) -> None:
    project = api.project(name)
    browser = browse("operator")

    assert browser.get(f"/ui/projects/{project['id']}").texts("h1") == [" ".join(name.split())]
    for path in ("", "/edit", "/delete", "/revoke-tokens", "/deactivate", "/keys/new"):
        page = browser.get(f"/ui/projects/{project['id']}{path}")
        assert page.status == 200 and "alert(1)</script>" not in page.answer.text
