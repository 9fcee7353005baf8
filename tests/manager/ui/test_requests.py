"""Rules of the pages about requests: found by what is known of them, shown in full, and only to who may see them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from manager import db
from manager.tables import Request
from shared.models import Outcome
from tests.manager.api.conftest import PROVIDER_KEY, Api
from tests.manager.api.test_requests import record, request
from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse, Browser, Seen
from tests.manager.ui.nasty import NASTY, is_harmless

pytestmark = one_database


def listed(browser: Browser, **query: Any) -> list[int]:
    """The numbers of the requests that are shown."""
    page = browser.get("/ui/requests", **query)
    assert page.status == 200, page.text
    return [int(str(link["href"]).rpartition("/")[2], 16) for link in page.all("tbody th a")]


def facts(page: Seen) -> dict[str, str]:
    """What is told of a request, by what it is called."""
    names, values = page.texts("dl dt"), page.texts("dl dd")
    return dict(zip(names, values, strict=True))


def one(browser: Browser, number: int = 1) -> Seen:
    page = browser.get(f"/ui/requests/{number:032x}")
    assert page.status == 200, page.text
    return page


# The list


def test_at_first_it_says_what_to_do(browse: Browse) -> None:
    page = browse("auditor").get("/ui/requests")

    assert page.status == 200 and "No requests yet" in page.text and not page.all("table")


def test_they_are_listed_newest_first_with_what_they_were(browse: Browse, api: Api, sessions: db.Sessions) -> None:
    made = api.project("search team")
    token = api.token(made["id"], label="nightly")
    of = {"project_id": UUID(made["id"]), "token_id": UUID(token["id"])}
    record(sessions, request(1, **of), request(2, **of, status=502, error_code="upstream_error", outcome="refused"))

    page = browse("auditor").get("/ui/requests")

    [failed, fine] = page.texts("tbody tr")
    assert "502 Refused here upstream_error search team nightly gpt-4o chat.completions" in failed
    assert "200 search team nightly" in fine and "12 est. $0.00123 812 ms 90 ms" in fine
    assert page.all("tbody time")[0]["data-time"] == "seconds"


def test_what_is_gone_is_told_as_gone(browse: Browse, sessions: db.Sessions) -> None:
    record(sessions, request(1, token_id=UUID(int=12)))

    [row] = browse().get("/ui/requests").texts("tbody tr")

    assert row.count("purged") == 2


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"model": "gpt-5"}, [2]),
        ({"model": ""}, [4, 3, 2, 1]),
        ({"route": "embeddings"}, [3]),
        ({"provider": "anthropic"}, [4]),
        ({"status": 502}, [3]),
        ({"status_class": 5}, [4, 3]),
        ({"outcome": "cut"}, [2]),
        ({"error_code": "upstream_error"}, [3]),
        ({"is_stream": "false"}, [4]),
        ({"min_duration_ms": 5000}, [4]),
        ({"provider_request_id": "req-1"}, [1]),
        ({"request_id": f"{1:032x}"}, [1]),
        ({"token_id": UUID(int=12)}, [4]),
        ({"upstream_key_id": UUID(int=99)}, [1]),
        ({"project_id": UUID(int=2)}, [3]),
        ({"project_id": UUID(int=999)}, []),
        ({"status_class": 5, "provider": "anthropic"}, [4]),
        ({"from": "2026-03-01T12:00", "until": "2026-03-01T12:01"}, [4, 3, 2, 1]),
        ({"from": "2026-03-01T12:01"}, []),
        ({"from": "2026-03-01T13:00:03+01:00"}, [4, 3]),
        ({"sort": "occurred_at"}, [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_they_are_found_by_what_they_were(
    browse: Browse, sessions: db.Sessions, query: dict[str, Any], numbers: list[int]
) -> None:
    record(
        sessions,
        request(1, provider_request_id="req-1", upstream_key_id=UUID(int=99)),
        request(2, model="gpt-5", outcome="cut"),
        request(3, UUID(int=2), route="embeddings", status=502, error_code="upstream_error"),
        request(4, token_id=UUID(int=12), provider="anthropic", status=500, is_stream=False, duration_ms=5000.0),
    )

    assert listed(browse("auditor"), **query) == numbers


def test_they_are_found_by_the_name_of_their_project(browse: Browse, api: Api, sessions: db.Sessions) -> None:
    made = api.project("فريق <البحث>")
    record(sessions, request(1), request(2, UUID(made["id"])))
    browser = browse()

    assert listed(browser, project_id=made["name"]) == [2]
    page = browser.get("/ui/requests", project_id=made["id"])
    assert page.one("#field-project_id")["value"] == made["name"]
    assert [option["value"] for option in page.all("#project-names option")] == [made["name"]]


def test_a_span_ends_now(browse: Browse, sessions: db.Sessions) -> None:
    now = datetime.now(UTC)
    ages = [timedelta(days=2), timedelta(hours=2), timedelta(minutes=30), timedelta(minutes=1)]
    record(sessions, *(request(number, occurred_at=now - age) for number, age in enumerate(ages, 1)))
    browser = browse()
    early = (now - timedelta(minutes=10)).isoformat()

    assert [listed(browser, span=span) for span in ("PT15M", "PT1H", "P1D", "P7D")] == [
        [4],
        [4, 3],
        [4, 3, 2],
        [4, 3, 2, 1],
    ]
    assert listed(browser, span="P1D", **{"from": early}) == [4]


def test_filters_are_shown_as_they_were_asked(browse: Browse) -> None:
    asked = {"model": '"gpt"', "from": "2026-03-01T12:00:00+01:00", "status_class": "5", "min_duration_ms": "7"}

    page = browse().get("/ui/requests", **asked)

    values = {name: page.one(f"[name='{name}']").get("value") for name in ("model", "from", "min_duration_ms")}
    assert values == {"model": '"gpt"', "from": "2026-03-01T11:00", "min_duration_ms": "7"}
    assert page.one("[name=status_class] [selected]")["value"] == "5"
    assert page.one("details").has_attr("open") and "No request fits" in page.text


def test_they_come_in_pages_that_keep_what_was_asked(browse: Browse, sessions: db.Sessions) -> None:
    record(sessions, *(request(number, model="gpt-5" if number % 2 else "gpt-4o") for number in range(1, 121)))
    browser = browse()

    first = browser.get("/ui/requests", model="gpt-5")
    second = browser.get(str(first.one("a[rel=next]")["href"]))

    numbers = [
        int(str(link["href"]).rpartition("/")[2], 16) for page in (first, second) for link in page.all("tbody th a")
    ]
    assert numbers == list(range(119, 0, -2))
    assert not second.all("a[rel=next]") and "First page" in second.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token_id", "nightly"),
        ("project_id", "no such team"),
        ("project_id", "\0"),
        ("upstream_key_id", "\0"),
        ("model", "\0"),
        ("model", "x" * 257),
        ("request_id", "a\0b"),
        ("provider_request_id", "\0"),
        ("route", "\x1b"),
        ("error_code", "\0"),
        ("outcome", "well"),
        ("status", "²"),
        ("status_class", "9"),
        ("from", "today"),
        ("until", "9999-99-99T00:00"),
        ("from", "0001-01-01T00:00:00+14:00"),
        ("span", "P2D"),
        ("is_stream", "maybe"),
        ("min_duration_ms", "-1"),
    ],
)
def test_a_faulty_filter_is_shown_with_what_is_wrong(browse: Browse, field: str, value: str) -> None:
    page = browse().get("/ui/requests", **{field: value})

    assert list(page.errors()) == [field] and "nothing was looked for" in page.text


@pytest.mark.parametrize(
    "query", [{"digest": "x"}, {"cursor": "x"}, {"cursor": "\0"}, {"sort": "model"}, {"limit": "0"}], ids=str
)
def test_what_is_no_filter_is_refused_with_a_page(browse: Browse, query: dict[str, str]) -> None:
    page = browse().get("/ui/requests", **query)

    assert page.status == 422 and page.all(".search .alert")


def test_a_filter_that_comes_twice_is_refused(browse: Browse) -> None:
    assert browse().get("/ui/requests?model=a&model=b").errors() == {"model": "Must be given once."}


def test_any_moment_of_the_calendar_can_be_asked_for(browse: Browse, sessions: db.Sessions) -> None:
    record(sessions, request(1))

    assert listed(browse(), **{"from": "0001-01-01T00:00", "until": "9999-12-31T23:59"}) == [1]


# One request


def test_one_is_shown_in_full(browse: Browse, api: Api, sessions: db.Sessions) -> None:
    made = api.project("search team")
    token = api.token(made["id"], label="nightly")
    key = made["keys"][0]
    record(
        sessions,
        request(1, UUID(made["id"]), UUID(token["id"]), upstream_key_id=UUID(key["id"])),
    )

    page = one(browse("auditor"))
    told = facts(page)

    assert told["Project"] == "search team" and told["Token"].startswith(f"nightly {token['masked_token']}")
    assert key["masked_key"] in told["Provider's key"] and PROVIDER_KEY not in page.answer.text
    assert told["Model"] == "gpt-4o , asked for as gpt-4"
    assert told["Tokens of the prompt"] == "5 (4 read from the cache, 3 written to it, 1 audio)"
    assert told["Of the completion"] == "7 (2 reasoning)"
    assert "estimated here" in told["In all"] and told["Cost"].startswith("$0.00123")
    assert told["Size"].endswith("in 7 pieces") and told["Speed"] == "9.8 tokens a second"
    assert "req_7" in told["Provider's id"] and f"{1:032x}" in told["Request id"]
    assert page.texts("main a[target=_blank]") == ["In mitmweb"]


def test_what_is_not_known_is_said_so(browse: Browse, sessions: db.Sessions) -> None:
    unknown = [name for name in Request.__table__.columns.keys() if Request.__table__.columns[name].nullable]
    record(sessions, request(1, status=0, outcome="client_aborted", attempts=0, **dict.fromkeys(unknown)))

    page = one(browse())

    told = facts(page)
    assert told["Status"] == "none The client went away" and told["Provider's key"] == "none was used"
    assert told["Cost"].startswith("not known") and told["Tokens of the prompt"] == "–"
    assert "The provider was not asked." in page.text


def bars(page: Seen) -> list[tuple[str, str, str]]:
    """The phases: what they are called, where they begin, how wide they are."""
    parts = page.all("rect.timing-part")
    labels = page.texts("table.timing tbody th")
    return [(label, str(bar["x"]), str(bar["width"])) for label, bar in zip(labels, parts, strict=True)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (
            {"duration_ms": 1000.0, "first_byte_ms": 250.0, "provider_ms": 200.0},
            [
                ("Waiting for the provider's first byte", "0.00%", "25.00%"),
                ("Of that at the provider, by its own words", "5.00%", "20.00%"),
                ("Passing on the answer as it came", "25.00%", "75.00%"),
            ],
        ),
        (
            {"duration_ms": 1000.0, "first_byte_ms": None, "provider_ms": None},
            [("Waiting; no answer of the provider came", "0.00%", "100.00%")],
        ),
        (
            {"duration_ms": 5.0, "first_byte_ms": None, "upstream_key_id": None},
            [("Looked at here; no provider was asked", "0.00%", "100.00%")],
        ),
        (
            {"duration_ms": 0.0, "first_byte_ms": 0.0, "provider_ms": None},
            [
                ("Waiting for the provider's first byte", "0.00%", "0.40%"),
                ("Passing on the answer as it came", "0.00%", "0.40%"),
            ],
        ),
        (
            {"duration_ms": 100.0, "first_byte_ms": 100.0, "provider_ms": 1e12},
            [
                ("Waiting for the provider's first byte", "0.00%", "100.00%"),
                ("Of that at the provider, by its own words", "0.00%", "100.00%"),
                ("Passing on the answer as it came", "99.60%", "0.40%"),
            ],
        ),
        (
            {"duration_ms": -5.0, "first_byte_ms": 1e308, "provider_ms": -1.0},
            [
                ("Waiting for the provider's first byte", "0.00%", "100.00%"),
                ("Of that at the provider, by its own words", "99.60%", "0.40%"),
                ("Passing on the answer as it came", "99.60%", "0.40%"),
            ],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join(f"{each}" for each in value.values()),
)
def test_where_the_time_went_is_drawn(
    browse: Browse, sessions: db.Sessions, times: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    record(sessions, request(1, **times))

    page = one(browse())

    assert bars(page) == expected and is_harmless(page)


def test_tries_are_told(browse: Browse, sessions: db.Sessions) -> None:
    record(sessions, request(1, attempts=3), request(2, attempts=1))

    assert "3 tries at the provider" in one(browse(), 1).text and "One try at the provider." in one(browse(), 2).text


def test_our_own_errors_come_with_advice_and_those_of_others_do_not(browse: Browse, sessions: db.Sessions) -> None:
    record(
        sessions,
        request(1, status=429, outcome="refused", error_code="quota_exceeded"),
        request(2, status=200, outcome="finished", error_code="insufficient_funds"),
    )

    assert "Raise the limit, or wait" in one(browse(), 1).text
    assert "the provider's own code" in one(browse(), 2).text


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_words(browse: Browse, sessions: db.Sessions, outcome: Outcome) -> None:
    record(sessions, request(1, outcome=outcome, status=500))
    browser = browse()

    shown = browser.get("/ui/requests").one("tbody tr td .ended").get_text() if outcome != "finished" else "Finished"
    assert outcome.value not in shown and shown in one(browser).text + "Finished"


@pytest.mark.parametrize("request_id", ["unknown", "%00", "a%00b", "%F0%9F%98%80", "%3Cscript%3E"])
def test_one_that_is_not_there_is_not_found(browse: Browse, request_id: str) -> None:
    page = browse().get(f"/ui/requests/{request_id}")

    assert page.status == 404 and "There is no such request" in page.text and is_harmless(page)


# Who may, and what is shown


def test_who_sees_some_projects_sees_their_requests_only(browse: Browse, api: Api, sessions: db.Sessions) -> None:
    mine, other = api.project("mine"), api.project("other")
    record(sessions, request(1, UUID(mine["id"])), request(2, UUID(other["id"])))
    browser = browse("auditor", project_ids=[mine["id"]])

    assert listed(browser) == [1]
    assert listed(browser, project_id=other["id"]) == []
    assert browser.get("/ui/requests", project_id="other").status == 422
    assert browser.get("/ui/requests").texts("#project-names option") == [""]
    assert browser.get("/ui/requests/" + f"{2:032x}").status == 404


def test_nobody_is_asked_to_sign_in(browse: Browse) -> None:
    assert browse(None).get("/ui/requests?model=a").goes_to == "/ui/sign-in?next=/ui/requests?model%3Da"


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_text_becomes_markup(browse: Browse, api: Api, sessions: db.Sessions, text: str) -> None:
    made = api.project(text[:128])
    token = api.token(made["id"], label=text[:128])
    said = {name: text[:64] for name in ("model", "route", "provider", "error_code", "finish_reason")}
    said |= {"provider_request_id": text[:64], "model_asked": f"{text[:60]}!"}
    record(sessions, request(1, UUID(made["id"]), UUID(token["id"]), outcome="refused", **said))
    browser = browse()

    pages = [browser.get("/ui/requests"), one(browser), browser.get("/ui/requests", model=text[:200])]

    assert all(is_harmless(page) for page in pages)
    shown = " ".join(text[:64].split())
    assert shown in pages[0].text and re.sub(r"\s", "", pages[1].text).count(re.sub(r"\s", "", text[:60])) >= 6
