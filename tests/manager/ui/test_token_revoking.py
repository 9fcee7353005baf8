"""Rules of revoking many tokens: it says how many, of which projects, and does what it said."""

from typing import Any

import pytest

from manager.tables import AuditEvent, Token
from tests.manager.api.conftest import Api, Published
from tests.manager.conftest import NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse
from tests.manager.ui.test_token_new import signed_in

pytestmark = one_database
PATH = "/ui/tokens/revoke"


@pytest.fixture
def tokens(api: Api) -> dict[str, dict[str, Any]]:
    """Three tokens of two projects, by their labels."""
    search, other = api.project("search team")["id"], api.project("other team")["id"]
    made = [api.token(search, label="nightly"), api.token(search, label="weekly"), api.token(other, label="daily")]
    return {each["label"]: each for each in made}


def revoked(rows: Rows) -> list[str]:
    return sorted(row.label for row in rows.all(Token) if row.revoked_at)


def test_those_that_were_ticked_are_shown_and_then_revoked(
    browse: Browse, tokens: Any, rows: Rows, published: Published
) -> None:
    browser = browse("operator")

    ids = [tokens["nightly"]["id"], tokens["daily"]["id"]]
    listed = browser.get("/ui/tokens")
    assert len(listed.all("form[data-ticks] input[name=ids]")) == 3
    question = browser.submit(listed, "form[data-ticks]", ids=ids)
    assert question.texts("h1") == ["Revoke 2 tokens?"] and revoked(rows) == []
    assert question.texts("tbody th") == ["daily", "nightly"]
    assert question.texts("tbody td:nth-of-type(1)") == ["other team", "search team"]

    done = browser.submit(question)
    assert "2 tokens revoked." in browser.follow(done).text and revoked(rows) == ["daily", "nightly"]
    assert published.token(tokens["nightly"]["token"])["is_active"] == "0"
    assert len([event for event in rows.all(AuditEvent) if event.action == "token.revoke"]) == 2


def test_those_that_fit_filters_are_counted_by_project_and_then_revoked(
    browse: Browse, tokens: Any, rows: Rows, published: Published
) -> None:
    browser = browse("operator")

    listed = browser.get("/ui/tokens", label_contains="ly", state="active")
    question = browser.open("GET", str(listed.one(".page-actions .btn-outline-danger")["href"]))
    assert question.texts("h1") == ["Revoke 3 tokens?"]
    assert question.texts(".confirm li") == ["search team : 2", "other team : 1"]

    done = browser.submit(question, typed="revoke 3")
    assert "3 tokens revoked." in browser.follow(done).text and len(revoked(rows)) == 3
    assert published.token(tokens["daily"]["token"])["is_active"] == "0"


def test_only_what_fits_is_revoked(browse: Browse, tokens: Any, rows: Rows) -> None:
    browser = browse()

    question = browser.get(PATH, project_id="search team", label_contains="week")
    browser.submit(question, typed="revoke 1")

    assert revoked(rows) == ["weekly"]


def test_what_was_revoked_before_is_not_counted(browse: Browse, tokens: Any, api: Api) -> None:
    api.delete(f"tokens/{tokens['weekly']['id']}")

    assert browse().get(PATH, project_id="search team").texts("h1") == ["Revoke 1 token?"]
    ids = {"ids": [tokens["weekly"]["id"], tokens["nightly"]["id"]]}
    assert browse("operator").get(PATH, **ids).texts("tbody th") == ["nightly"]


@pytest.mark.parametrize("typed", ["", "revoke", "revoke 2", "3"])
def test_it_is_to_be_confirmed_by_typing_how_many(browse: Browse, tokens: Any, rows: Rows, typed: str) -> None:
    browser = browse()

    page = browser.submit(browser.get(PATH, label_contains="ly"), typed=typed)

    assert page.status == 422 and page.one("#typed")["aria-invalid"] == "true" and revoked(rows) == []


def test_more_than_were_shown_are_not_revoked_unseen(browse: Browse, tokens: Any, api: Api, rows: Rows) -> None:
    browser = browse()
    question = browser.get(PATH, label_contains="ly")
    api.token(tokens["daily"]["project_id"], label="hourly")

    page = browser.submit(question, typed="revoke 3")

    assert page.status == 409 and page.texts("h1") == ["Revoke 4 tokens?"] and "What fits has changed" in page.text
    assert revoked(rows) == []
    assert browser.submit(page, typed="revoke 4").status == 303 and len(revoked(rows)) == 4


def test_projects_are_named_up_to_a_number(browse: Browse, rows: Rows) -> None:
    for number in range(23):
        rows.token(rows.project(name=f"team {number:02}"), digest=f"d{number}")

    items = browse().get(PATH, state="active").texts(".confirm li")

    assert len(items) == 21 and items[-1] == "and 3 more projects"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"ids": ""},
        {"ids": "nonsense"},
        {"all": "true"},
        {"state": "asleep"},
        {"colour": "red"},
        {"label_contains": ""},
    ],
    ids=str,
)
def test_without_saying_which_it_goes_back_to_the_list(
    browse: Browse, tokens: Any, rows: Rows, query: dict[str, str]
) -> None:
    browser = browse()

    assert browser.get(PATH, **query).goes_to.startswith("/ui/tokens")
    assert browser.post(PATH, **query, typed="revoke 3", seen="3", confirmed="yes").goes_to.startswith("/ui/tokens")
    assert revoked(rows) == []


def test_bad_filters_are_shown_at_their_fields(browse: Browse, tokens: Any) -> None:
    browser = browse()

    page = browser.get(PATH, state="asleep", label_contains="ly")

    assert list(browser.open("GET", page.goes_to).errors()) == ["state"]


def test_ids_and_filters_are_not_mixed(browse: Browse, tokens: Any, rows: Rows) -> None:
    browser = browse()

    page = browser.post(PATH, ids=tokens["daily"]["id"], label_contains="week", typed="revoke 1", seen="1")

    assert page.goes_to.startswith("/ui/tokens") and revoked(rows) == []


def test_nothing_beyond_the_scope_is_shown_or_revoked(browse: Browse, tokens: Any, rows: Rows) -> None:
    browser = browse("operator", project_ids=[tokens["nightly"]["project_id"]])
    ids = [each["id"] for each in tokens.values()]

    question = browser.get(PATH, ids=ids)
    assert question.texts("tbody th") == ["nightly", "weekly"]
    browser.post(PATH, ids=ids, confirmed="yes")
    assert revoked(rows) == ["nightly", "weekly"]
    assert "Nothing was left to revoke." in browser.follow(browser.get(PATH, label_contains="daily")).text


def test_a_project_out_of_scope_is_no_filter(browse: Browse, tokens: Any, rows: Rows) -> None:
    browser = browse("operator", project_ids=[tokens["nightly"]["project_id"]])

    page = browser.post(PATH, project_id="other team", typed="revoke 1", seen="1")

    assert page.goes_to.startswith("/ui/tokens") and revoked(rows) == []


def test_whoever_may_only_look_revokes_nothing(browse: Browse, tokens: Any, rows: Rows) -> None:
    browser = browse("auditor")
    ids = [each["id"] for each in tokens.values()]

    assert browser.get(PATH, ids=ids).status == 403 and browser.post(PATH, ids=ids, confirmed="yes").status == 403
    assert revoked(rows) == []


def test_a_revocation_while_redis_is_away_is_kept_and_said_to_come_later(
    serve: Serve, database_url: str, tokens: Any, rows: Rows
) -> None:
    browser = signed_in(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY))

    done = browser.post(PATH, ids=tokens["daily"]["id"], confirmed="yes")

    later = "1 token revoked. It will reach the proxy as soon as Redis is back."
    assert browser.follow(done).texts(".messages .alert-warning") == [later] and revoked(rows) == ["daily"]


def test_as_many_as_a_page_can_have_are_ticked(browse: Browse, rows: Rows) -> None:
    rows.tokens(rows.project(), 200)
    browser = browse()
    listed = browser.get("/ui/tokens", limit="200")
    ids = [str(each["value"]) for each in listed.all("input[name=ids]")]

    question = browser.submit(listed, "form[data-ticks]", ids=ids)

    assert question.texts("h1") == ["Revoke 200 tokens?"]
    browser.submit(question)
    assert len(revoked(rows)) == 200


def test_a_number_that_was_shown_is_to_be_what_fits(browse: Browse, tokens: Any, api: Api, rows: Rows) -> None:
    browser = browse()
    question = browser.get(PATH, label_contains="ly")
    api.delete(f"tokens/{tokens['daily']['id']}")

    assert browser.submit(question, typed="revoke 3").texts("h1") == ["Revoke 2 tokens?"]
    assert revoked(rows) == ["daily"]


def test_one_that_came_in_the_place_of_another_is_not_revoked_unseen(
    browse: Browse, tokens: Any, api: Api, rows: Rows
) -> None:
    browser = browse()
    question = browser.get(PATH, label_contains="ly")
    api.delete(f"tokens/{tokens['daily']['id']}")
    api.token(tokens["daily"]["project_id"], label="hourly")

    page = browser.submit(question, typed="revoke 3")

    assert page.status == 409 and page.texts("h1") == ["Revoke 3 tokens?"] and revoked(rows) == ["daily"]
    assert browser.submit(page, typed="revoke 3").status == 303 and len(revoked(rows)) == 4
