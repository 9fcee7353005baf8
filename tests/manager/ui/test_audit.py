"""Rules of the pages about the audit: found by who did what to whom, shown with what changed, taken away, verified."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from manager import audit, db
from manager.audit import Action
from manager.audit_chain import Chain
from manager.tables import AuditEvent, new_id
from manager.ui.audit_detail import Difference, summary, told
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOW, Rows, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen
from tests.manager.ui.nasty import NASTY, is_harmless

pytestmark = one_database
SEARCH, NIGHTLY, PRICE = UUID(int=1), UUID(int=11), UUID(int=21)

type Tell = Callable[..., UUID]


@pytest.fixture
def tell(sessions: db.Sessions) -> Tell:
    """Writes an event, and returns its id."""

    def write(action: Action = Action.TOKEN_UPDATE, actor: str = "ops", **more: Any) -> UUID:
        columns = {"address": "192.0.2.7", "request_id": "r1", "actor_id": None} | more
        source = audit.Source(actor, columns.pop("request_id"), columns.pop("address"), columns.pop("actor_id"))
        with sessions.begin() as session:
            audit.note(session, columns.pop("occurred_at", NOW), source, action, **columns)
            return session.scalars(sa.select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).one()

    return write


def listed(browser: Browser, **query: Any) -> list[str]:
    """The actions that are shown, but for signing in and making operators."""
    page = browser.get("/ui/audit", **query)
    assert page.status == 200, page.text
    beside = ("session.begin", "operator.create", "login", "project.create")
    return [text for text in page.texts("tbody td:nth-child(2) code") if text not in beside]


def one(browser: Browser, event_id: UUID) -> Seen:
    page = browser.get(f"/ui/audit/{event_id}")
    assert page.status == 200, page.text
    return page


def facts(page: Seen) -> dict[str, str]:
    return dict(zip(page.texts("dl dt"), page.texts("dl dd"), strict=True))


# The list


def test_events_are_listed_newest_first(browse: Browse, api: Api, tell: Tell) -> None:
    made = api.project("search team")
    token = api.token(made["id"], label="nightly")
    of = {"project_id": UUID(made["id"]), "token_id": UUID(token["id"])}
    tell(Action.TOKEN_UPDATE, **of, detail={"before": {"label": "a"}, "after": {"label": "b"}})
    tell(Action.TOKEN_REVOKE, "Bo", **of, outcome="denied")

    page = browse("auditor").get("/ui/audit", **{"from": "2026-05-04T00:00", "until": "2026-05-05T00:00"})

    revoked, updated = page.texts("tbody tr")
    assert "token.revoke denied search team nightly Bo 192.0.2.7 –" in revoked
    assert "token.update search team nightly ops 192.0.2.7 label" in updated
    assert [link["href"] for link in page.all("tbody td a")][:1] == [f"/ui/projects/{made['id']}"]


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ({"action": "key.test"}, ["key.test"]),
        ({"actor": "Bo"}, ["price.put"]),
        ({"actor_id": UUID(int=31)}, ["price.put"]),
        ({"outcome": "denied"}, ["key.test"]),
        ({"project_id": SEARCH}, ["token.revoke"]),
        ({"token_id": NIGHTLY}, ["token.revoke"]),
        ({"subject_id": PRICE}, ["price.put"]),
        ({"request_id": "ticket-42"}, ["token.revoke"]),
        ({"text": "GPT-5"}, ["price.put"]),
        ({"text": "192.0"}, ["price.put", "key.test", "token.revoke"]),
        ({"from": "2026-05-04T10:00", "until": "2026-05-04T11:00"}, ["price.put", "key.test", "token.revoke"]),
        ({"from": "2027-01-01T00:00:00Z"}, []),
        ({"actor": ""}, ["price.put", "key.test", "token.revoke"]),
        ({"sort": "occurred_at"}, ["token.revoke", "key.test", "price.put"]),
    ],
    ids=str,
)
def test_events_are_found(browse: Browse, tell: Tell, query: dict[str, Any], actions: list[str]) -> None:
    tell(Action.TOKEN_REVOKE, project_id=SEARCH, token_id=NIGHTLY, request_id="ticket-42")
    tell(Action.KEY_TEST, outcome="denied")
    tell(Action.PRICE_PUT, "Bo", subject_id=PRICE, actor_id=UUID(int=31), detail={"model": "gpt-5*"})

    assert listed(browse("auditor"), **query) == actions


def test_a_project_is_asked_for_by_its_name(browse: Browse, api: Api) -> None:
    api.project("other")
    made = api.project("search & find")
    page = browse().get("/ui/audit", project_id="search & find")

    assert page.texts("tbody td:nth-child(2) code") == ["project.create"]
    assert browse().get("/ui/audit", project_id=made["id"]).one("#field-project_id")["value"] == "search & find"


def test_events_come_in_pages(browse: Browse, tell: Tell) -> None:
    ids = [tell() for _ in range(60)]
    browser = browse()

    first = browser.get("/ui/audit", action="token.update")
    second = browser.get(str(first.one("a[rel=next]")["href"]))

    links = [str(link["href"]).rpartition("/")[2] for page in (first, second) for link in page.all("tbody th a")]
    assert links == [str(each) for each in reversed(ids)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "project.explode"),
        ("actor", "\0"),
        ("actor", "x" * 201),
        ("actor_id", "Bo"),
        ("outcome", "very bad"),
        ("project_id", "\0"),
        ("token_id", "\0"),
        ("subject_id", "x"),
        ("request_id", "a b"),
        ("request_id", "\0"),
        ("from", "yesterday"),
        ("until", "2026-13-01T00:00"),
        ("span", "all"),
        ("text", "a\0b"),
        ("text", "x" * 201),
    ],
)
def test_a_faulty_filter_is_shown_with_what_is_wrong(browse: Browse, field: str, value: str) -> None:
    page = browse().get("/ui/audit", **{field: value})

    assert list(page.errors()) == [field] and "nothing was looked for" in page.text and not page.all("form.export")


@pytest.mark.parametrize("query", [{"digest": "x"}, {"cursor": "\0"}, {"sort": "actor"}], ids=str)
def test_what_is_no_filter_is_refused_with_a_page(browse: Browse, query: dict[str, str]) -> None:
    assert browse().get("/ui/audit", **query).status == 422


def test_who_sees_some_projects_sees_their_events_only(browse: Browse, api: Api, tell: Tell) -> None:
    mine, other = api.project("mine"), api.project("other")
    seen, hidden = tell(project_id=UUID(mine["id"])), tell(project_id=UUID(other["id"]))
    nobodys = tell(Action.PRICE_PUT)
    browser = browse("auditor", project_ids=[mine["id"]])

    assert listed(browser) == ["token.update"]
    assert [browser.get(f"/ui/audit/{each}").status for each in (seen, hidden, nobodys)] == [200, 404, 404]


# One event


def test_an_event_is_shown_with_what_has_changed(browse: Browse, api: Api) -> None:
    made = api.project("search team")
    api.patch(f"projects/{made['id']}", name="find team", policy={"allowed_models": ["gpt-5*", "o4-mini"]})
    [event] = api.get("audit", action="project.update").json["items"]

    page = one(browse("auditor"), UUID(event["id"]))

    rows = [[cell.get_text() for cell in row.select("th, td")] for row in page.all("table.differences tbody tr")]
    assert rows == [["name", "search team", "find team"], ["policy.allowed_models", "–", "gpt-5*\no4-mini"]]
    told = facts(page)
    assert (told["Who"], told["Outcome"], told["Project"], told["From"]) == (
        "management",
        "success",
        "find team",
        "127.0.0.1",
    )


def test_an_event_of_the_data_plane_leads_to_its_request(browse: Browse, tell: Tell) -> None:
    cut = tell(Action.STREAM_CUT, audit.DATA_PLANE, request_id="0a0b", detail={"code": "token_inactive"})
    mine = tell(Action.PRICE_PUT, request_id="0a0b", subject_id=PRICE)

    assert one(browse(), cut).one("dd a code").get_text() == "0a0b"
    links = [str(link["href"]) for link in one(browse(), mine).all("main a")]
    assert "/ui/audit?request_id=0a0b" in links and f"/ui/audit?subject_id={PRICE}" in links


def test_the_place_in_the_chain_is_shown(browse: Browse, tell: Tell, sessions: db.Sessions, app: Any) -> None:
    event = tell()
    assert facts(one(browse(), event))["Place in the chain"].startswith("not yet")

    Chain(sessions, app.extensions["llm_proxy"].settings.encryption_keys).extend()

    assert facts(one(browse(), event))["Place in the chain"].isdigit()


@pytest.mark.parametrize("event_id", [new_id(), "x", "%00"], ids=["unknown", "malformed", "nul"])
def test_an_event_that_is_not_there_is_not_found(browse: Browse, event_id: Any) -> None:
    assert browse().get(f"/ui/audit/{event_id}").status == 404


# What details tell


def test_what_differs_is_told_however_deep() -> None:
    before = {"policy": {"max_values": {"n": 1}, "allowed": [], "denied": {}}, "same": 1}
    after = {"policy": {"max_values": {"n": 2.0}, "allowed": ["a", "b"], "denied": None}, "same": 1}

    found = told({"before": before, "after": after, "until": None})

    assert found.differences == [
        Difference("policy.max_values.n", "1", "2"),
        Difference("policy.allowed", "–", "a\nb"),
    ]
    assert (found.facts, found.has_before, found.has_after) == ([("until", "–")], True, True)


def test_what_was_made_has_no_before_and_what_was_deleted_no_after() -> None:
    made, deleted = told({"after": {"label": "a", "on": True}}), told({"before": {"label": "a"}})

    assert made.differences == [Difference("label", None, "a"), Difference("on", None, "yes")]
    assert (made.has_before, made.has_after, deleted.has_before, deleted.has_after) == (False, True, True, False)


def test_a_price_that_was_replaced_is_told_beside_what_it_is() -> None:
    found = told({"model": "gpt-5*", "prompt": "2.00", "before": {"model": "gpt-5*", "prompt": "1.00"}})

    assert found.differences == [Difference("prompt", "1.00", "2.00")] and found.facts == []


def test_the_end_of_an_earlier_chain_is_no_difference() -> None:
    found = told({"before": {"chain": "c0ffee"}})

    assert (found.differences, found.has_after) == ([Difference("chain", "c0ffee", None)], False)


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ({}, ""),
        ({"after": {"label": "nightly", "limits": []}}, "label: nightly"),
        ({"limits": [{"measure": "cost", "amount": "5.00", "burst": None}]}, "limits: measure cost, amount 5.00"),
        ({"before": dict.fromkeys("abcdef", 1), "after": dict.fromkeys("abcdef", 2)}, "a, b, c, d and 2 more"),
        ({"before": 1, "after": "x"}, "before: 1, after: x"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, 'a.b.c.d: {"e": 1}'),
        ([1, "x"], "detail: 1 x"),
        (None, ""),
        ("text\nof two lines", "detail: text of two lines"),
    ],
    ids=str,
)
def test_an_event_is_summed_up_in_a_line(detail: Any, line: str) -> None:
    assert summary(detail) == line


# Taking it away


def test_what_fits_is_taken_away(browse: Browse, tell: Tell, api: Api, rows: Rows) -> None:
    tell(Action.KEY_TEST, "=Bo")
    tell(Action.PRICE_PUT, "Ana")
    browser = browse("auditor")
    page = browser.get("/ui/audit", actor="=Bo", sort="id")

    lines = browser.submit(page, "form.export", format="jsonl")
    table = browser.submit(page, "form.export", format="csv")

    assert lines.answer.content_type == "application/x-ndjson"
    assert lines.answer.headers["content-disposition"] == "attachment; filename=audit.jsonl"
    assert [json.loads(line)["action"] for line in lines.answer.text.splitlines()] == ["key.test"]
    [row] = csv.DictReader(io.StringIO(table.answer.text))
    assert (table.answer.headers["content-disposition"], row["actor"]) == ("attachment; filename=audit.csv", "'=Bo")
    told = [event.detail for event in rows.all(AuditEvent) if event.action == "audit.export"]
    assert told == [{"format": "jsonl", "actor": "=Bo"}, {"format": "csv", "actor": "=Bo"}]


def test_a_span_that_is_taken_away_is_told_as_the_moment_that_it_began(browse: Browse, rows: Rows) -> None:
    browser = browse()

    answer = browser.post("/ui/audit/export", format="csv", span="PT1H")

    [event] = [event for event in rows.all(AuditEvent) if event.action == "audit.export"]
    assert answer.status == 200 and list(event.detail) == ["format", "since"]


def test_who_sees_some_projects_takes_away_theirs(browse: Browse, api: Api, tell: Tell) -> None:
    mine, other = api.project("mine"), api.project("other")
    tell(project_id=UUID(mine["id"])), tell(project_id=UUID(other["id"]))
    browser = browse("auditor", project_ids=[mine["id"]])

    answer = browser.post("/ui/audit/export", format="jsonl", action="token.update")

    assert [json.loads(line)["project_id"] for line in answer.answer.text.splitlines()] == [mine["id"]]


@pytest.mark.parametrize(
    "fields", [{"format": "xml"}, {"actor": "\0"}, {"text": "\0"}, {"cursor": "x"}, {"project_id": "nobody"}], ids=str
)
def test_a_faulty_question_takes_nothing_away(browse: Browse, rows: Rows, fields: dict[str, str]) -> None:
    answer = browse().post("/ui/audit/export", **fields)

    assert (answer.status, answer.answer.mimetype) == (422, "text/html")
    assert "Some of what was sent cannot be taken:" in answer.text and "see errors" not in answer.text
    assert not [event for event in rows.all(AuditEvent) if event.action == "audit.export"]


def test_nothing_is_taken_away_without_the_token_of_a_page(browse: Browse) -> None:
    browser = browse()

    assert browser.open("POST", "/ui/audit/export", data={"format": "csv"}).status == 400
    assert browser.open("POST", "/ui/audit/verify").status == 400


# Verifying it


def test_a_whole_chain_is_said_to_be_so_with_an_anchor(browse: Browse, tell: Tell) -> None:
    tell()
    browser = browse("auditor")

    page = browser.submit("/ui/audit/verify")

    anchor = page.one("#anchor").get_text()
    assert page.status == 200 and "The audit is whole" in page.one(".alert-success").get_text()
    assert facts(page)["Waiting for their place"] == "0" and anchor.count(":") == 2
    again = browser.submit("/ui/audit/verify", anchor=anchor)
    assert "The audit is whole" in again.text and facts(again)["Held against an anchor"] == "yes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sa.update(AuditEvent).where(AuditEvent.position == 2).values(actor="<b>forger</b>"), "An event was changed"),
        (sa.delete(AuditEvent).where(AuditEvent.position == 2), "Events are missing"),
        (sa.text("UPDATE audit_chain SET seal = 'x'"), "The chain's own record is wrong"),
        (
            sa.insert(AuditEvent).values(
                id=UUID(int=5), occurred_at=NOW, action="x", actor="x", outcome="x", detail={}, position=9999, mac="x"
            ),
            "There are events that do not belong there",
        ),
    ],
    ids=["changed", "missing", "record", "additional"],
)
def test_a_fault_is_told_in_words(browse: Browse, tell: Tell, sessions: db.Sessions, change: Any, words: str) -> None:
    tell(), tell(), tell()
    browser = browse()
    browser.submit("/ui/audit/verify")
    with sessions.begin() as session:
        session.execute(change)

    page = browser.submit("/ui/audit/verify")

    assert words in page.one(".alert-danger").get_text() and not page.all("#anchor") and is_harmless(page)


def test_a_chain_that_was_cut_at_its_end_is_found_by_the_anchor(browse: Browse, tell: Tell) -> None:
    tell()
    browser = browse()
    chain, position, mac = browser.submit("/ui/audit/verify").one("#anchor").get_text().split(":")

    page = browser.submit("/ui/audit/verify", anchor=f"{chain}:{int(position) + 1000}:{mac}")

    assert "Events are missing" in page.text


@pytest.mark.parametrize("anchor", ["x", "1:2:3:4", "\0", "<script>", "9" * 30 + ":" + "a" * 64], ids=ascii)
def test_a_faulty_anchor_is_said_to_be_so(browse: Browse, anchor: str) -> None:
    page = browse().submit("/ui/audit/verify", anchor=anchor)

    assert list(page.errors()) == ["anchor"] and is_harmless(page)


def test_verifying_is_for_who_sees_everything(browse: Browse, api: Api) -> None:
    made = api.project()
    scoped = browse("operator", project_ids=[made["id"]])

    assert scoped.get("/ui/audit/verify").status == 403
    assert scoped.post("/ui/audit/verify").status == 403
    assert not scoped.get("/ui/audit").all("a[href='/ui/audit/verify']")
    assert browse("auditor").get("/ui/audit").all("a[href='/ui/audit/verify']")


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_text_becomes_markup(browse: Browse, tell: Tell, text: str) -> None:
    event = tell(
        Action.TOKEN_UPDATE,
        text[:128],
        project_id=SEARCH,
        outcome=text[:32],
        address=text[:64],
        request_id=text[:64],
        detail={"before": {text: text}, "after": {text: [text, {text: text}]}, text: text},
    )
    browser = browse()

    pages = [browser.get("/ui/audit"), one(browser, event), browser.get("/ui/audit", text=text[:200])]

    assert all(is_harmless(page) for page in pages) and pages[1].text.count(" ".join(text[:64].split())) >= 6
