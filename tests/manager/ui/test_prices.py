"""Rules of the pages about prices: shown to the last decimal, overridden and taken back by admins of everything."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from manager import db, prices
from manager.tables import AuditEvent, Price, new_id
from shared.prices import Price as Listed
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOBODY, NOW, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser
from tests.manager.ui.nasty import NASTY, is_harmless

pytestmark = one_database
GPT = {"provider": "openai", "model": "gpt-5*", "prompt": "1.25", "completion": "10"}
FORM = "/ui/prices/new"


@pytest.fixture
def of_the_list(sessions: db.Sessions) -> UUID:
    """The list has a price."""
    with sessions.begin() as session:
        listed = Listed("openai", "gpt-4o", prompt=2_500_000_000, completion=1, above=200_000)
        prices.replace_list(session, NOW, "genai-prices 1.2.3", [listed])
    with sessions.begin() as session:
        [row] = prices.list_page(session, 1, None).items
        return row.id


def override(api: Api, **more: Any) -> dict[str, Any]:
    answer = api.put("prices", **GPT | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


# The list


def test_at_first_it_says_where_prices_come_from(browse: Browse) -> None:
    assert "No prices yet" in browse("auditor").get("/ui/prices").text
    assert browse().get("/ui/prices").one(".empty a")["href"] == FORM
    assert not browse("operator").get("/ui/prices").all(f"a[href='{FORM}']")


@pytest.mark.usefixtures("of_the_list")
def test_prices_are_shown_to_the_last_decimal(browse: Browse, api: Api) -> None:
    override(
        api, cached="0.000000001", request="12", valid_from="2026-01-01T00:00:00Z", valid_until="2027-01-01T00:00:00Z"
    )

    mine, listed = browse("auditor").get("/ui/prices").texts("tbody tr")

    assert "gpt-5* openai $1.25 $10.00 read from the cache $0.000000001 each request $12.00" in mine
    assert "from 2026-01-01 00:00:00 UTC until 2027-01-01 00:00:00 UTC override" in mine
    assert "gpt-4o openai $2.50 $0.000000001 – prompts above 200,000 tokens genai-prices 1.2.3" in listed


@pytest.mark.usefixtures("of_the_list")
@pytest.mark.parametrize(
    ("query", "models"),
    [
        ({}, ["claude*", "gpt-5*", "gpt-4o"]),
        ({"provider": "anthropic"}, ["claude*"]),
        ({"model": "gpt-5*"}, ["gpt-5*"]),
        ({"model": "gpt-5-mini"}, []),
        ({"is_override": "true"}, ["claude*", "gpt-5*"]),
        ({"is_override": "false", "provider": ""}, ["gpt-4o"]),
    ],
    ids=str,
)
def test_prices_are_found(browse: Browse, api: Api, query: dict[str, str], models: list[str]) -> None:
    override(api)
    override(api, provider="anthropic", model="claude*")

    page = browse("auditor").get("/ui/prices", **query)

    assert (page.status, page.texts("tbody th bdi")) == (200, models)


def test_prices_come_in_pages(browse: Browse, rows: Rows) -> None:
    for number in range(60):
        rows.add(Price(id=new_id(), provider="openai", model=f"m{number}", above=0, prompt=1, updated_at=NOW))
    browser = browse()

    first = browser.get("/ui/prices", provider="openai")
    second = browser.get(str(first.one("a[rel=next]")["href"]))

    assert first.texts("tbody th bdi") + second.texts("tbody th bdi") == [f"m{number}" for number in range(59, -1, -1)]


@pytest.mark.parametrize(
    ("field", "value"), [("provider", "\0"), ("model", "a\0b"), ("model", "x" * 257), ("is_override", "maybe")]
)
def test_a_faulty_filter_is_shown_with_what_is_wrong(browse: Browse, field: str, value: str) -> None:
    page = browse().get("/ui/prices", **{field: value})

    assert list(page.errors()) == [field] and "nothing was looked for" in page.text


# Overriding


def test_an_override_is_added(browse: Browse, rows: Rows) -> None:
    browser = browse()

    answer = browser.submit(
        FORM, **GPT, cached="0.125", above="200000", valid_from="2026-01-01T00:00", valid_until="2026-02-01T00:00:30"
    )

    assert answer.goes_to == "/ui/prices?is_override=true"
    assert "The price of gpt-5* is kept." in browser.follow(answer).text
    [price] = rows.all(Price)
    assert (price.prompt, price.cached, price.above, price.request) == (1_250_000_000, 125_000_000, 200_000, None)
    assert (price.valid_from, price.valid_until) == (
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 2, 1, 0, 0, 30, tzinfo=UTC),
    )
    assert [event.actor for event in rows.all(AuditEvent) if event.action == "price.put"] == ["management"]


def test_a_change_begins_with_what_there_is_and_replaces_it(browse: Browse, api: Api, rows: Rows) -> None:
    made = override(api, cached="0.000000001", valid_from="2026-01-01T00:00:30Z")
    browser = browse()

    answer = browser.submit(f"{FORM}?like={made['id']}", prompt="2")

    [price] = rows.all(Price)
    assert answer.status == 303 and str(price.id) == made["id"]
    assert (price.prompt, price.cached, price.completion) == (2_000_000_000, 1, 10_000_000_000)


def test_a_price_of_the_list_is_overridden_from_what_it_is(browse: Browse, of_the_list: UUID, rows: Rows) -> None:
    browse().submit(f"{FORM}?like={of_the_list}", completion="0")

    added = [(row.model, row.prompt, row.completion, row.above) for row in rows.all(Price) if not row.source]
    assert added == [("gpt-4o", 2_500_000_000, 0, 200_000)]


@pytest.mark.parametrize("like", ["x", "\0", str(UUID(int=7))], ids=ascii)
def test_what_is_like_nothing_begins_empty(browse: Browse, like: str) -> None:
    page = browse().get(FORM, like=like)

    assert page.status == 200 and page.one("[name=model]")["value"] == ""


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"prompt": "1.2.3"}, ["prompt"]),
        ({"prompt": "1e3"}, ["prompt"]),
        ({"prompt": "-1"}, ["prompt"]),
        ({"prompt": "99999999999999"}, ["prompt"]),
        ({"prompt": "0.0000000001"}, ["prompt"]),
        ({"prompt": "", "completion": ""}, ["prompt"]),
        ({"provider": ""}, ["provider"]),
        ({"provider": "acme"}, ["provider"]),
        ({"model": ""}, ["model"]),
        ({"model": "a\0b"}, ["model"]),
        ({"model": "x" * 257}, ["model"]),
        ({"above": "-1"}, ["above"]),
        ({"above": "many"}, ["above"]),
        ({"above": str(2**60)}, ["above"]),
        ({"valid_from": "soon"}, ["valid_from"]),
        ({"valid_from": "0001-01-01T00:00"}, ["valid_from"]),
        ({"valid_from": "2026-02-01T00:00", "valid_until": "2026-01-01T00:00"}, ["valid_until"]),
    ],
    ids=str,
)
def test_bad_input_is_said_at_its_field_and_nothing_is_lost(
    browse: Browse, rows: Rows, fields: dict[str, str], faulty: list[str]
) -> None:
    page = browse().submit(FORM, **GPT | fields)

    assert list(page.errors()) == faulty and rows.all(Price) == []
    assert page.one("[name=completion]")["value"] == fields.get("completion", "10")


def test_without_redis_a_price_is_kept_and_said_to_come_later(
    serve: Serve, database_url: str, api: Api, rows: Rows
) -> None:
    browser = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    browser.sign_in(api.bearer)

    seen = browser.follow(browser.submit(FORM, **GPT))

    assert "as soon as Redis is back" in seen.one(".alert-warning").get_text() and len(rows.all(Price)) == 1


# Taking back


def test_an_override_is_taken_back_when_that_is_confirmed(browse: Browse, api: Api, rows: Rows) -> None:
    path = f"/ui/prices/{override(api)['id']}/delete"
    browser = browse()

    asked = browser.get(path)
    assert "gpt-5*" in asked.text and "the cost of its requests is not known" in asked.text and rows.all(Price)
    answer = browser.submit(asked)

    assert answer.goes_to == "/ui/prices?is_override=true" and rows.all(Price) == []
    assert "The override of gpt-5* is taken back." in browser.follow(answer).text


def test_a_price_of_the_list_stays(browse: Browse, of_the_list: UUID, rows: Rows) -> None:
    browser = browse()

    answers = [browser.get(f"/ui/prices/{of_the_list}/delete"), browser.post(f"/ui/prices/{of_the_list}/delete")]

    assert [answer.status for answer in answers] == [409, 409] and len(rows.all(Price)) == 1


def test_what_is_not_there_is_not_found(browse: Browse) -> None:
    browser = browse()
    path = f"/ui/prices/{UUID(int=7)}/delete"

    assert (browser.get(path).status, browser.post(path).status) == (404, 404)


# Who may


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_only_admins_change_prices(browse: Browse, api: Api, rows: Rows, role: str) -> None:
    path = f"/ui/prices/{override(api)['id']}/delete"
    browser = browse(role)

    assert browser.get("/ui/prices").texts("main a, main button") == ["Filter"]
    assert [browser.get(each).status for each in (FORM, path)] == [403, 403]
    assert [browser.post(FORM, **GPT | {"prompt": "9"}).status, browser.post(path).status] == [403, 403]
    assert [price.prompt for price in rows.all(Price)] == [1_250_000_000]


def test_nothing_is_changed_without_the_token_of_a_page(browse: Browse, api: Api, rows: Rows) -> None:
    made, browser = override(api), browse()

    answers = [browser.open("POST", FORM, data=GPT), browser.open("POST", f"/ui/prices/{made['id']}/delete")]

    assert [answer.status for answer in answers] == [400, 400] and len(rows.all(Price)) == 1


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_text_becomes_markup(browse: Browse, rows: Rows, text: str) -> None:
    made = rows.add(
        Price(id=new_id(), provider=text[:64], model=text[:256], above=0, prompt=1, source="", updated_at=NOW)
    )
    rows.add(Price(id=new_id(), provider="openai", model="m", above=0, prompt=1, source=text[:64], updated_at=NOW))
    browser = browse()

    pages = [
        browser.get("/ui/prices"),
        browser.get(FORM, like=str(made.id)),
        browser.get(f"/ui/prices/{made.id}/delete"),
        browser.submit(FORM, **GPT | {"prompt": text}),
        browser.get("/ui/prices", model=text[:200], provider=text[:200]),
    ]

    assert [page.status for page in pages] == [200, 200, 200, 422, 200] and all(map(is_harmless, pages))
    assert " ".join(text[:60].split()) in pages[0].text
