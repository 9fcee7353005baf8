"""Rules of new tokens: made once, shown once, and what is wrong stands at its field with nothing lost."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from manager.tables import AuditEvent, Operator, Token
from tests.manager.api.conftest import Api, Published
from tests.manager.conftest import MANAGEMENT_TOKEN, NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen

pytestmark = one_database
SECRET = re.compile(r"sk-llmp-[0-9A-Za-z]{39}")


@pytest.fixture
def project(api: Api) -> dict[str, Any]:
    return api.project("search team")


def ask(browser: Browser, **fields: Any) -> Seen:
    """The form for a new token, filled in and sent."""
    return browser.submit("/ui/tokens/new", **{"project_id": "search team", **fields})


def secret(page: Seen) -> str:
    """The secret that a page shows; fails unless there is one."""
    assert page.status == 200, page.text
    return page.one("[data-secret]").get_text()


# What is made


def test_a_token_is_made_and_shown_once(browse: Browse, project: Any, published: Published, rows: Rows) -> None:
    browser = browse("operator")

    page = ask(browser, label="nightly", max_requests="100")

    assert published.token(secret(page))["is_active"] == "1" and "Redis" not in page.text
    [row] = rows.all(Token)
    assert (row.label, row.max_requests, str(row.project_id)) == ("nightly", 100, project["id"])
    assert page.answer.headers["cache-control"] == "no-store"
    for later in ("/ui/tokens", f"/ui/tokens/{row.id}", f"/ui/tokens/{row.id}/edit"):
        assert not SECRET.search(browser.get(later).answer.text)


def test_what_is_not_asked_for_is_as_the_api_has_it(browse: Browse, project: Any, api: Api) -> None:
    ask(browse(), label="by page")
    by_page = api.get("tokens").json["items"][0]
    by_api = api.token(project["id"])

    told = ("max_requests", "policy", "limits", "is_active", "request_count")
    assert {name: by_page[name] for name in told} == {name: by_api[name] for name in told}


@pytest.mark.parametrize(
    ("said", "life"),
    [
        ({}, timedelta(hours=1)),
        ({"life": "PT15M"}, timedelta(minutes=15)),
        ({"life": "P30D", "expires_in": "PT5M"}, timedelta(days=30)),
        ({"life": "for", "expires_in": "PT90M", "expires_at": "2030-01-01T00:00"}, timedelta(minutes=90)),
        ({"life": "for", "expires_in": "3600"}, timedelta(hours=1)),
    ],
    ids=str,
)
def test_a_token_lives_as_long_as_was_chosen(
    browse: Browse, project: Any, rows: Rows, said: dict[str, str], life: timedelta
) -> None:
    secret(ask(browse(), **said))

    [row] = rows.all(Token)
    assert row.expires_at - row.created_at == life


def test_a_token_may_live_until_a_moment_of_utc(browse: Browse, project: Any, rows: Rows) -> None:
    until = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=2)

    secret(ask(browse(), life="until", expires_at=until.strftime("%Y-%m-%dT%H:%M"), expires_in="PT1H"))

    assert rows.all(Token)[0].expires_at == until


def test_policy_and_limits_are_those_of_the_form(browse: Browse, project: Any, api: Api) -> None:
    more = {
        "policy.allowed_models": "gpt-5*\r\no4-mini\r\n",
        "policy.denied_parameters": "tools",
        "policy.max_values": "max_tokens = 4096",
        "limits-0-measure": "cost",
        "limits-0-amount": "12.50",
        "limits-0-window": "day",
    }

    page = ask(browse(), **more)

    made = api.get("tokens").json["items"][0]
    assert made["policy"]["allowed_models"] == ["gpt-5*", "o4-mini"]
    assert made["policy"]["max_values"] == {"max_tokens": 4096}
    assert [(each["measure"], each["amount"], each["window"]) for each in made["limits"]] == [("cost", "12.50", "day")]
    assert "o4-mini" in page.texts(".tab pre")[0]


@pytest.mark.parametrize("said", ["search team", "  search team ", "{id}"])
def test_a_project_is_named_or_said_by_its_id(browse: Browse, project: Any, said: str) -> None:
    assert secret(ask(browse(), project_id=said.format(**project)))


def test_a_link_from_a_project_fills_it_in(browse: Browse, project: Any) -> None:
    page = browse().get("/ui/tokens/new", project_id=project["id"])

    assert page.one("#field-project_id")["value"] == "search team"
    assert browse("operator").get("/ui/tokens/new", project_id="nonsense").status == 200


def test_several_get_numbers_behind_their_label(browse: Browse, project: Any, rows: Rows, published: Published) -> None:
    page = ask(browse(), label="worker", count="12")

    labels = page.texts("tbody th")
    assert labels == [f"worker {number:02}" for number in range(1, 13)]
    assert sorted(row.label for row in rows.all(Token)) == labels
    secrets = page.texts("tbody td")
    assert len(set(secrets)) == 12 and all(published.token(each) for each in secrets)
    lines = page.one("#all-secrets").get_text().split()
    assert lines[0] == "label,token,id,expires_at" and all(each in page.one("#all-secrets").text for each in secrets)
    assert len(rows.all(AuditEvent)) == 1 + 1 + 12  # The project, the session, the tokens.


def test_several_without_a_label_are_told_apart_by_numbers(browse: Browse, project: Any) -> None:
    assert ask(browse(), count="3").texts("tbody th") == ["1", "2", "3"]


def test_no_address_of_the_page_holds_the_secret(browse: Browse, project: Any) -> None:
    page = ask(browse())

    found = secret(page)
    for name in ("href", "src", "action"):
        assert not [each for each in page.all(f"[{name}]") if found in str(each[name])]
    assert all(found not in str(value) for value in page.answer.headers.values())


def test_the_secret_is_in_no_audit_and_no_log(
    browse: Browse, project: Any, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    found = secret(ask(browse()))

    told = "".join(json.dumps(event.detail) for event in rows.all(AuditEvent))
    seen = capsys.readouterr()
    assert found not in told + seen.out + seen.err


# Twice


def test_the_same_form_sent_again_makes_nothing_and_shows_the_same(browse: Browse, project: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get("/ui/tokens/new")

    first, second = (browser.submit(form, project_id="search team", label="nightly") for _ in range(2))

    assert secret(first) == secret(second) and first.texts("main h1") == second.texts("main h1")
    assert len(rows.all(Token)) == 1


def test_a_form_that_was_changed_makes_another_one(browse: Browse, project: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get("/ui/tokens/new")

    first, second = (browser.submit(form, project_id="search team", label=label) for label in ("one", "two"))

    assert secret(first) != secret(second) and len(rows.all(Token)) == 2


def test_several_sent_again_are_the_same(browse: Browse, project: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get("/ui/tokens/new")

    first, second = (browser.submit(form, project_id="search team", count="5") for _ in range(2))

    assert first.texts("tbody td") == second.texts("tbody td") and len(rows.all(Token)) == 5


@pytest.mark.parametrize("count", ["1", "3"])
def test_what_was_revoked_since_is_not_shown_again(
    browse: Browse, project: Any, api: Api, rows: Rows, count: str
) -> None:
    browser = browse()
    form = browser.get("/ui/tokens/new")
    browser.submit(form, project_id="search team", count=count)
    api.delete(f"tokens/{rows.all(Token)[-1].id}")

    again = browser.submit(form, project_id="search team", count=count)

    assert "has been revoked since: its secret is not shown again" in again.errors()[""]
    assert not SECRET.search(again.answer.text)
    anew = browser.submit(again)
    assert anew.status == 200 and len(rows.all(Token)) == 2 * int(count)


def test_nobody_else_is_shown_it_by_the_same_form(browse: Browse, project: Any) -> None:
    one, other = browse("operator"), browse()
    form = one.get("/ui/tokens/new")
    shown = secret(one.submit(form, project_id="search team"))

    again = other.submit(form, project_id="search team", csrf_token=other.csrf())

    assert secret(again) != shown


# What is wrong


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"project_id": ""}, "project_id", "fill this in"),
        ({"project_id": "nobody's"}, "project_id", "no project of this name"),
        ({"project_id": "018f0000-0000-7000-8000-00000000000a"}, "project_id", "no project of this name"),
        ({"label": "x" * 201}, "label", "at most 200 characters"),
        ({"label": "a\0b"}, "label", "control characters"),
        ({"label": "x" * 199, "count": "10"}, "label", "at most 200 characters"),
        ({"life": "for"}, "expires_in", "fill this in"),
        ({"life": "for", "expires_in": "soon"}, "expires_in", "ISO 8601"),
        ({"life": "for", "expires_in": "-5"}, "expires_in", "ISO 8601"),
        ({"life": "for", "expires_in": "0"}, "expires_in", "longer than zero"),
        ({"life": "for", "expires_in": "P1Y"}, "expires_in", "in days"),
        ({"life": "for", "expires_in": "P366D"}, "expires_in", "at most P365D"),
        ({"life": "until"}, "expires_at", "fill this in"),
        ({"life": "until", "expires_at": "tomorrow"}, "expires_at", "Enter a day and a time"),
        ({"life": "until", "expires_at": "2020-01-01T00:00"}, "expires_at", "longer than zero"),
        ({"life": "until", "expires_at": "2999-01-01T00:00"}, "expires_at", "at most P365D"),
        ({"life": ""}, "expires_in", "fill this in"),
        ({"life": "forever", "expires_in": "PT5M"}, "life", "Must be one of"),
        ({"max_requests": "0"}, "max_requests", "from 1 to"),
        ({"max_requests": "many"}, "max_requests", "Enter a whole number"),
        ({"max_requests": "1.5"}, "max_requests", "Enter a whole number"),
        ({"max_requests": "9" * 17}, "max_requests", "from 1 to"),
        ({"count": "0"}, "count", "greater than or equal to 1"),
        ({"count": "1001"}, "count", "less than or equal to 1000"),
        ({"count": "few"}, "count", "Enter a whole number"),
        ({"policy.allowed_models": "x" * 201}, "policy-allowed_models", "1 to 200 characters"),
        ({"policy.denied_models": "\n".join(f"m{n}" for n in range(101))}, "policy-denied_models", "at most 100"),
        ({"policy.denied_parameters": "a\x01b"}, "policy-denied_parameters", "control characters"),
        ({"policy.max_values": "max_tokens = lots"}, "policy-max_values", "Enter a number"),
        ({"policy.max_values": "max_tokens = -1"}, "policy-max_values", "from 0 on"),
        ({"limits-0-measure": "cost", "limits-0-amount": "lots", "limits-0-window": "day"}, "limits", "US dollars"),
        ({"limits-0-measure": "tokens", "limits-0-amount": "", "limits-0-window": "day"}, "limits", "fill this in"),
        (
            {"limits-0-measure": "tokens", "limits-0-amount": "5", "limits-0-window": "hour"},
            "limits",
            "can be limited per",
        ),
        ({"limits-0-measure": "love", "limits-0-amount": "5", "limits-0-window": "day"}, "limits", "Must be one of"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(
    browse: Browse, project: Any, rows: Rows, fields: dict[str, str], field: str, reason: str
) -> None:
    kept = {"label": "nightly 🦊", "max_requests": "7", "count": "2", "policy.denied_models": "*-preview"} | fields

    page = ask(browse(), **kept)

    assert list(page.errors()) == [field] and reason in page.errors()[field]
    assert not rows.all(Token)
    for name, value in kept.items():
        control = page.one(f"[name='{name}']")
        if control.name == "input":
            assert control["value"] == value.replace("\r\n", "\n")
        elif control.name == "textarea":
            assert control.get_text().removeprefix("\n").strip() == value
    if field != "limits":
        assert page.one(f"#field-{field}")["aria-invalid"] == "true"


def test_a_project_that_is_switched_off_takes_no_tokens(browse: Browse, project: Any, api: Api) -> None:
    api.post(f"projects/{project['id']}/deactivate")

    assert "not active" in ask(browse()).errors()[""]


def test_presets_beyond_the_longest_life_are_not_offered(
    serve: Serve, database_url: str, valkey_url: str, project: Any
) -> None:
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_MAX_TOKEN_LIFETIME="P1D")
    browser = signed_in(app)

    page = browser.get("/ui/tokens/new")

    assert page.texts("#field-life option") == [
        "15 minutes", "1 hour", "1 day", "Another time span…", "Until a moment…"
    ]  # fmt: skip
    assert "At most 1 day." in page.one("#field-life-help").get_text()
    assert ask(browser, life="P7D").errors()["expires_in"] == "Must be longer than zero and at most P1D."


def test_the_examples_have_the_address_that_the_setting_says(
    serve: Serve, database_url: str, valkey_url: str, project: Any
) -> None:
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_PUBLIC_URL="https://llm.example.org/")

    page = ask(signed_in(app))

    examples = page.texts(".tab pre")
    assert len(examples) == 4 and all("https://llm.example.org/v1" in each for each in examples)
    assert page.texts(".tabs label") == ["Python", "Node", "curl", "LangChain"]


def test_a_token_is_made_also_while_redis_is_away(serve: Serve, database_url: str, project: Any, rows: Rows) -> None:
    browser = signed_in(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY))

    page = ask(browser)

    assert secret(page) and len(rows.all(Token)) == 1
    assert "It is stored, and works as soon as Redis is back." in page.text


# Who may


def test_whoever_may_only_look_makes_none(browse: Browse, project: Any, rows: Rows) -> None:
    browser = browse("auditor")

    assert browser.get("/ui/tokens/new").status == 403
    assert browser.post("/ui/tokens/new", project_id="search team", life="PT1H", count="1").status == 403
    assert not rows.all(Token)


def test_projects_out_of_scope_are_as_if_they_were_not(browse: Browse, api: Api, project: Any) -> None:
    browser = browse("operator", project_ids=[api.project("mine")["id"]])

    for said in ("search team", project["id"]):
        assert "no project of this name" in ask(browser, project_id=said).errors()["project_id"]
    assert browser.get("/ui/tokens/new", project_id=project["id"]).one("#field-project_id")["value"] != "search team"


def test_a_form_from_elsewhere_makes_none(browse: Browse, project: Any, rows: Rows) -> None:
    fields = {"project_id": "search team", "life": "PT1H", "count": "1"}

    assert browse().open("POST", "/ui/tokens/new", data=fields).status == 400
    assert not rows.all(Token)


def signed_in(app: Flask) -> Browser:
    """The management token, in another service on the same stores."""
    browser = Browser(app.test_client())
    assert browser.sign_in(MANAGEMENT_TOKEN).status == 303
    return browser


@pytest.mark.parametrize("count", ["1", "3"])
def test_whoever_may_do_more_than_when_it_was_sent_is_told_so_in_plain_words(
    browse: Browse, project: Any, api: Api, rows: Rows, count: str
) -> None:
    browser = browse("operator", name="ann")
    form = browser.get("/ui/tokens/new")
    browser.submit(form, project_id="search team", count=count)
    api.patch(f"operators/{rows.all(Operator)[0].id}", role="admin")

    again = browser.submit(form, project_id="search team", count=count)

    assert "what you may do has changed since" in again.errors()[""] and len(rows.all(Token)) == int(count)
    assert browser.submit(again).status == 200 and len(rows.all(Token)) == 2 * int(count)


@pytest.mark.parametrize("count", ["1", "3"])
def test_it_is_said_for_how_long_the_page_can_be_reloaded(browse: Browse, project: Any, count: str) -> None:
    browser = browse()
    form = browser.get("/ui/tokens/new")

    first, second = (browser.submit(form, project_id="search team", count=count) for _ in range(2))

    [said] = first.texts("main .alert-warning")
    assert "can reload it for a day" in said and second.texts("main .alert-warning") == [said]
    assert "reload that page within a day" in form.text
