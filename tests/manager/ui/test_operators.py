"""Rules of operators: for admins only, tokens are shown once, what is wrong stands at its field."""

import json
from datetime import timedelta
from typing import Any

import pytest

from manager.tables import AuditEvent, Operator
from tests.manager.api.conftest import Api
from tests.manager.conftest import Rows, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen

pytestmark = one_database
ONE = "/ui/operators/{id}"
PATHS = ("/ui/operators", "/ui/operators/new", ONE, f"{ONE}/edit", f"{ONE}/rotate", f"{ONE}/revoke")


@pytest.fixture
def ann(api: Api) -> dict[str, Any]:
    """An operator of one project."""
    project = api.project("search team")["id"]
    made = api.post("operators", name="ann", role="operator", project_ids=[project])
    found: dict[str, Any] = made.json
    return found


def ask(browser: Browser, **fields: Any) -> Seen:
    """The form for a new operator, filled in and sent."""
    return browser.submit("/ui/operators/new", **{"name": "bob", **fields})


def path(operator: dict[str, Any], part: str = "") -> str:
    return f"/ui/operators/{operator['id']}{part and '/'}{part}"


def secret(page: Seen) -> str:
    assert page.status == 200, page.text
    return page.one("[data-secret]").get_text()


def row_of(rows: Rows, name: str) -> Operator:
    [found] = [row for row in rows.all(Operator) if row.name == name]
    return found


# Shown


def test_operators_are_listed(browse: Browse, api: Api, ann: Any) -> None:
    api.post("operators", name="eve", role="auditor", expires_in="P30D")
    api.delete(f"operators/{ann['id']}")

    rows = browse().get("/ui/operators").texts("tbody tr")

    assert [row.split()[0] for row in rows] == ["eve", "ann"]
    assert f"eve {api.get('operators').json['items'][0]['masked_token']} auditor all active" in rows[0]
    assert "operator search team revoked" in rows[1]


def test_operators_are_found_by_their_role_and_sorted(browse: Browse, api: Api, ann: Any) -> None:
    api.post("operators", name="eve", role="auditor")
    browser = browse()

    assert browser.get("/ui/operators", sort="name").texts("tbody th a") == ["ann", "eve"]
    assert browser.get("/ui/operators", role="auditor").texts("tbody th a") == ["eve"]
    assert list(browser.get("/ui/operators", role="king").errors()) == ["role"]
    assert browser.get("/ui/operators", role="admin").texts(".empty h2") == ["No operator fits"]


def test_a_list_without_operators_says_what_to_do_first(browse: Browse) -> None:
    assert browse().get("/ui/operators").one(".empty a")["href"] == "/ui/operators/new"


def test_the_page_of_an_operator_says_what_it_may_and_what_it_did(browse: Browse, api: Api, ann: Any) -> None:
    Api(api.client, ann["token"]).token(ann["project_ids"][0], label="by ann")

    page = browse().get(path(ann))

    assert "operator: may also make and change projects" in page.text and "search team" in page.text
    assert page.texts("#by code")[0] == "token.create"
    assert page.texts("#to code") == ["operator.create"]
    assert ann["token"] not in page.answer.text


@pytest.mark.parametrize("role", ["operator", "auditor"])
@pytest.mark.parametrize("where", PATHS)
def test_operators_are_for_admins_only(browse: Browse, ann: Any, role: str, where: str) -> None:
    browser = browse(role)

    assert browser.get(where.format(**ann)).status == 403
    assert "Operators" not in browser.get("/ui/me").texts("nav[aria-label=Main] a")
    assert "Operators" in browse("admin").get("/ui/me").texts("nav[aria-label=Main] a")


@pytest.mark.parametrize("where", PATHS[1:2] + PATHS[3:])
def test_nobody_else_changes_them(browse: Browse, ann: Any, rows: Rows, where: str) -> None:
    fields = {"name": "mallory", "role": "admin", "life": "good", "state": ""}

    assert browse("operator").post(where.format(**ann), **fields).status == 403
    assert row_of(rows, "ann").role == "operator" and row_of(rows, "ann").revoked_at is None


def test_an_operator_that_is_not_there_is_not_found(browse: Browse) -> None:
    browser = browse()

    for part in ("", "/edit", "/rotate", "/revoke"):
        assert browser.get(f"/ui/operators/018f0000-0000-7000-8000-00000000000a{part}").status == 404


# Made


def test_an_operator_is_made_and_its_token_shown_once(browse: Browse, api: Api, rows: Rows) -> None:
    browser = browse("admin")

    page = ask(browser, role="auditor")

    token = secret(page)
    assert Api(api.client, token).get("me").json["name"] == "bob" and page.answer.headers["cache-control"] == "no-store"
    row = row_of(rows, "bob")
    assert (row.role, row.project_ids, row.expires_at) == ("auditor", None, None)
    for later in ("/ui/operators", f"/ui/operators/{row.id}", f"/ui/operators/{row.id}/edit"):
        assert token not in browser.get(later).answer.text
    assert token not in json.dumps([event.detail for event in rows.all(AuditEvent)])


def test_an_operator_may_be_for_some_projects_and_some_time(browse: Browse, api: Api, rows: Rows) -> None:
    first, second = api.project("فريق البحث 🦊")["id"], api.project("other team")["id"]

    secret(ask(browse(), role="operator", project_ids=f"فريق البحث 🦊\r\n {second} \r\n", life="P30D"))

    row = row_of(rows, "bob")
    assert row.project_ids == sorted([first, second]) and row.expires_at
    assert row.expires_at - row.created_at == timedelta(days=30)


def test_the_same_form_sent_again_makes_nobody_else(browse: Browse, rows: Rows) -> None:
    browser = browse()
    form = browser.get("/ui/operators/new")

    first, second = (browser.submit(form, name="bob", role="auditor") for _ in range(2))

    assert secret(first) == secret(second) and len(rows.all(Operator)) == 1


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_a_token_that_has_ended_is_not_shown_again(browse: Browse, api: Api, rows: Rows, how: str) -> None:
    browser = browse()
    form = browser.get("/ui/operators/new")
    token = secret(browser.submit(form, name="bob", role="auditor"))
    one = f"operators/{row_of(rows, 'bob').id}"
    api.delete(one) if how == "revoke" else api.post(f"{one}/rotate")

    again = browser.submit(form, name="bob", role="auditor")

    assert "is not shown again" in again.errors()[""] and token not in again.answer.text


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"name": ""}, "name", "1 to 200 characters"),
        ({"name": "x" * 201}, "name", "1 to 200 characters"),
        ({"name": "a\0b"}, "name", "control characters"),
        ({"name": "\u200b"}, "name", "can be seen"),
        ({"name": "management"}, "name", "reserved"),
        ({"name": "\u0430nn of Latin"}, "name", "alphabets that look alike"),
        ({"name": "ANN"}, "", "of this name already"),
        ({"role": ""}, "role", "fill this in"),
        ({"role": "king"}, "role", "Must be one of"),
        ({"project_ids": "search team\nnobody's"}, "project_ids", "Line 2: There is no project of this name"),
        ({"role": "admin", "project_ids": "search team"}, "project_ids", "An admin sees every project."),
        ({"life": "for"}, "expires_in", "ISO 8601"),
        ({"life": "for", "expires_in": "soon"}, "expires_in", "ISO 8601"),
        ({"life": "for", "expires_in": "0"}, "expires_in", "longer than zero"),
        ({"life": "often"}, "life", "Must be one of"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(
    browse: Browse, ann: Any, rows: Rows, fields: dict[str, str], field: str, reason: str
) -> None:
    page = ask(browse(), **{"role": "operator", **fields})

    assert list(page.errors()) == [field] and reason in page.errors()[field]
    assert [row.name for row in rows.all(Operator)] == ["ann"]
    for name, value in fields.items():
        control = page.one(f"[name='{name}']")
        assert control.name == "select" or value in (control.get("value"), control.get_text().removeprefix("\n"))


# Changed


def test_what_is_changed_is_changed_and_nothing_else(browse: Browse, ann: Any, rows: Rows) -> None:
    browser = browse()

    done = browser.submit(path(ann, "edit"), role="auditor")

    assert "The operator was changed." in browser.follow(done).text
    row = row_of(rows, "ann")
    assert (row.role, row.project_ids, row.masked) == ("auditor", ann["project_ids"], ann["masked_token"])
    [event] = [event for event in rows.all(AuditEvent) if event.action == "operator.update"]
    assert event.detail["after"] == {"role": "auditor"}


def test_projects_are_shown_by_name_and_taken_away(browse: Browse, ann: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get(path(ann, "edit"))
    assert form.one("[name=project_ids]").get_text().strip() == "search team"

    browser.submit(form, project_ids="")

    assert row_of(rows, "ann").project_ids is None


def test_a_form_that_nobody_touched_changes_nothing(browse: Browse, ann: Any, rows: Rows) -> None:
    browser = browse()

    assert "There was nothing to change." in browser.follow(browser.submit(path(ann, "edit"))).text
    assert not [event for event in rows.all(AuditEvent) if event.action == "operator.update"]


def test_a_life_is_given_and_taken(browse: Browse, ann: Any, rows: Rows) -> None:
    browser = browse()

    browser.submit(path(ann, "edit"), life="for", expires_in="P14D")
    row = row_of(rows, "ann")
    assert row.expires_at and row.expires_at - row.updated_at == timedelta(days=14)

    browser.submit(path(ann, "edit"), life="good")
    assert row_of(rows, "ann").expires_at is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"role": "king"}, "role"),
        ({"role": "admin"}, "project_ids"),
        ({"project_ids": "nobody's"}, "project_ids"),
        ({"life": "for", "expires_in": "soon"}, "expires_in"),
    ],
    ids=str,
)
def test_a_bad_change_is_refused_at_its_field(
    browse: Browse, ann: Any, rows: Rows, fields: dict[str, str], field: str
) -> None:
    page = browse().submit(path(ann, "edit"), **fields)

    assert list(page.errors()) == [field] and row_of(rows, "ann").role == "operator"


def test_what_somebody_else_changed_meanwhile_is_shown_beside(browse: Browse, api: Api, ann: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get(path(ann, "edit"))
    api.patch(f"operators/{ann['id']}", role="auditor")

    page = browser.submit(form, project_ids="")

    assert page.status == 412 and "It has been changed since you opened this page." in page.text
    assert row_of(rows, "ann").project_ids is not None
    assert browser.submit(page).status == 303 and row_of(rows, "ann").project_ids is None


def test_who_loses_a_right_loses_it_at_once(browse: Browse, ann: Any, browser_of_ann: Browser) -> None:
    assert browser_of_ann.get("/ui/tokens/new").status == 200

    browse().submit(path(ann, "edit"), role="auditor")

    assert browser_of_ann.get("/ui/tokens/new").status == 403


@pytest.fixture
def browser_of_ann(browse: Browse, ann: Any) -> Browser:
    browser = browse(None)
    assert browser.sign_in(ann["token"]).status == 303
    return browser


# Another token, and the end


def test_another_token_is_shown_once_and_ends_the_old_one(
    browse: Browse, api: Api, ann: Any, browser_of_ann: Browser
) -> None:
    browser = browse()

    token = secret(browser.submit(path(ann, "rotate")))

    assert Api(api.client, ann["token"]).get("me").status_code == 401
    assert Api(api.client, token).get("me").json["name"] == "ann"
    assert browser_of_ann.get("/ui/me").goes_to.startswith("/ui/sign-in")
    assert token not in browser.get(path(ann)).answer.text


def test_a_rotation_sent_again_shows_the_same_token(browse: Browse, ann: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get(path(ann, "rotate"))

    first, second = (browser.submit(form) for _ in range(2))

    assert secret(first) == secret(second)
    assert len([event for event in rows.all(AuditEvent) if event.action == "operator.rotate"]) == 1


def test_a_rotation_of_what_was_changed_meanwhile_is_asked_again(browse: Browse, api: Api, ann: Any) -> None:
    browser = browse()
    form = browser.get(path(ann, "rotate"))
    api.patch(f"operators/{ann['id']}", role="auditor")

    again = browser.submit(form)

    assert again.status == 412 and not again.all("[data-secret]")
    assert secret(browser.submit(again))


def test_a_rotation_sent_again_after_the_end_shows_nothing(browse: Browse, api: Api, ann: Any) -> None:
    browser = browse()
    form = browser.get(path(ann, "rotate"))
    token = secret(browser.submit(form))
    api.delete(f"operators/{ann['id']}")

    again = browser.submit(form)

    assert again.status == 409 and token not in again.answer.text


def test_an_operator_is_revoked_after_saying_what_that_means(
    browse: Browse, ann: Any, rows: Rows, browser_of_ann: Browser
) -> None:
    browser = browse()

    question = browser.get(path(ann, "revoke"))
    assert "Revoke ann?" in question.text and row_of(rows, "ann").revoked_at is None
    done = browser.follow(browser.submit(question))

    assert "The operator is revoked." in done.text and "This operator was revoked." in done.text
    assert not done.all(".page-actions a") and row_of(rows, "ann").revoked_at
    assert browser_of_ann.get("/ui/me").goes_to.startswith("/ui/sign-in")
    assert "revoked already" in browser.follow(browser.submit(question)).text
    assert browser.get(path(ann, "edit")).status == 409 and browser.get(path(ann, "rotate")).status == 409


def test_a_revocation_is_asked_again_when_it_was_changed_meanwhile(
    browse: Browse, api: Api, ann: Any, rows: Rows
) -> None:
    browser = browse()
    question = browser.get(path(ann, "revoke"))
    api.patch(f"operators/{ann['id']}", role="auditor")

    assert browser.submit(question).status == 412 and row_of(rows, "ann").revoked_at is None


def test_whoever_ends_oneself_is_told_so_before(browse: Browse, rows: Rows) -> None:
    browser = browse("admin")
    [me] = rows.all(Operator)

    for part in ("rotate", "revoke"):
        assert "This is you" in browser.get(f"/ui/operators/{me.id}/{part}").text
    assert browser.submit(f"/ui/operators/{me.id}/revoke").status == 303
    assert browser.get("/ui/me").goes_to.startswith("/ui/sign-in")


# Oneself


def test_everybody_can_see_oneself(browse: Browse, api: Api, browser_of_ann: Browser, ann: Any) -> None:
    page = browser_of_ann.get("/ui/me")

    said = dict(zip(page.texts(".facts dt"), page.texts(".facts dd"), strict=True))
    assert (said["Name"], said["Projects"], said["Token"]) == ("ann", "search team", ann["masked_token"])
    assert said["Role"].startswith("operator: may also make") and said["It works"] == "until it is revoked"
    assert page.one(".page-actions a")["href"] == "/ui/sessions" and page.one(".whoami")["href"] == "/ui/me"


def test_the_management_token_is_told_to_make_operators(browse: Browse) -> None:
    page = browse().get("/ui/me")

    assert "the management token of this installation" in page.text
    assert page.one(".facts a")["href"] == "/ui/operators/new"


def test_it_is_said_for_how_long_the_page_with_a_token_can_be_reloaded(browse: Browse) -> None:
    browser = browse()
    form = browser.get("/ui/operators/new")

    first, second = (browser.submit(form, name="bob") for _ in range(2))

    assert secret(first) == secret(second) and "can reload it for a day" in second.text
