"""Rules of changes: only what differs is changed, another's change is not undone unseen, secrets are shown once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manager.tables import AuditEvent, Token
from tests.manager.api.conftest import Api, Published
from tests.manager.conftest import NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse
from tests.manager.ui.test_token_new import SECRET, secret, signed_in

pytestmark = one_database
LATER = "It will reach the proxy as soon as Redis is back."
BUDGET = {"measure": "tokens", "window": "life", "amount": 1000}


@pytest.fixture
def token(api: Api) -> dict[str, Any]:
    return api.token(api.project("search team")["id"], label="nightly", max_requests=100, limits=[BUDGET])


def path(token: dict[str, Any], part: str) -> str:
    return f"/ui/tokens/{token['id']}/{part}"


def events(rows: Rows, action: str) -> list[AuditEvent]:
    return [event for event in rows.all(AuditEvent) if event.action == action]


# Edit


def test_what_is_changed_is_changed_and_nothing_else(
    browse: Browse, api: Api, token: Any, rows: Rows, published: Published
) -> None:
    browser = browse("operator")

    done = browser.submit(path(token, "edit"), label="weekly", **{"policy.allowed_models": "gpt-5*"})

    assert done.goes_to == f"/ui/tokens/{token['id']}" and "The token was changed." in browser.follow(done).text
    after = api.get(f"tokens/{token['id']}").json
    assert (after["label"], after["policy"]["allowed_models"]) == ("weekly", ["gpt-5*"])
    same = ("expires_at", "max_requests", "is_active", "limits")
    assert {name: after[name] for name in same} == {name: token[name] for name in same}
    [event] = events(rows, "token.update")
    assert sorted(event.detail["after"]) == ["label", "policy"] and event.actor.startswith("operator")
    assert published.token(token["token"])["label"] == "weekly"


def test_a_form_that_nobody_touched_changes_nothing(browse: Browse, token: Any, rows: Rows) -> None:
    browser = browse()

    done = browser.submit(path(token, "edit"))

    assert "There was nothing to change." in browser.follow(done).text and not events(rows, "token.update")


@pytest.mark.parametrize(
    ("said", "life"),
    [
        ({"life": "P7D"}, timedelta(days=7)),
        ({"life": "for", "expires_in": "PT5M"}, timedelta(minutes=5)),
        ({"expires_in": "PT5M"}, timedelta(minutes=5)),
    ],
    ids=str,
)
def test_a_token_gets_a_new_life(browse: Browse, token: Any, rows: Rows, said: dict[str, str], life: timedelta) -> None:
    browse().submit(path(token, "edit"), **said)

    [row] = rows.all(Token)
    assert row.expires_at - row.updated_at == life


def test_a_token_is_switched_off_and_on(browse: Browse, token: Any, published: Published) -> None:
    browser = browse()

    browser.submit(path(token, "edit"), is_active=None)
    assert published.token(token["token"])["is_active"] == "0"

    browser.submit(path(token, "edit"), is_active="on")
    assert published.token(token["token"])["is_active"] == "1"


def test_limits_are_taken_away_by_emptying_them(browse: Browse, token: Any, rows: Rows) -> None:
    emptied = {"limits-0-measure": "", "limits-0-amount": "", "limits-0-window": "", "limits-0-burst": ""}

    browse().submit(path(token, "edit"), max_requests="", **emptied)

    [row] = rows.all(Token)
    assert (row.max_requests, row.limits) == (None, ())


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"label": "x" * 201}, "label", "at most 200 characters"),
        ({"life": "until"}, "expires_at", "fill this in"),
        ({"life": "until", "expires_at": "2999-01-01T00:00"}, "expires_at", "at most P365D"),
        ({"life": "for", "expires_in": "soon"}, "expires_in", "ISO 8601"),
        ({"expires_in": "PT5M", "expires_at": "2030-01-01T00:00"}, "expires_at", "Give one of"),
        ({"max_requests": "0"}, "max_requests", "from 1 to"),
        ({"policy.max_values": "max_tokens = lots"}, "policy-max_values", "Enter a number"),
        ({"limits-1-measure": "tokens", "limits-1-amount": "5", "limits-1-window": "life"}, "limits", "before it"),
        ({"limits-1-measure": "requests", "limits-1-amount": "5", "limits-1-window": "life"}, "limits", "max_requests"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(
    browse: Browse, token: Any, rows: Rows, fields: dict[str, str], field: str, reason: str
) -> None:
    page = browse().submit(path(token, "edit"), **{"policy.denied_models": "*-preview"} | fields)

    assert list(page.errors()) == [field] and reason in page.errors()[field]
    assert page.one("[name='policy.denied_models']").get_text().strip() == "*-preview"
    for name, value in fields.items():
        control = page.one(f"[name='{name}']")
        assert control.name != "input" or control["value"] == value
    assert not events(rows, "token.update")


def test_what_somebody_else_changed_meanwhile_is_shown_beside(browse: Browse, api: Api, token: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get(path(token, "edit"))
    api.patch(f"tokens/{token['id']}", label="theirs")

    page = browser.submit(form, label="mine", max_requests="5")

    assert page.status == 412 and "It has been changed since you opened this page." in page.text
    assert page.one("#field-label")["value"] == "mine" and page.texts("#field-label-present") == ["Now it is theirs"]
    assert rows.all(Token)[0].label == "theirs"
    assert browser.submit(page).status == 303 and rows.all(Token)[0].label == "mine"


def test_a_token_that_was_revoked_is_not_changed(browse: Browse, api: Api, token: Any) -> None:
    browser = browse()
    form = browser.get(path(token, "edit"))
    api.delete(f"tokens/{token['id']}")

    assert browser.get(path(token, "edit")).status == 409
    assert browser.submit(form, label="weekly").status == 409


def test_a_change_while_redis_is_away_is_kept_and_said_to_come_later(
    serve: Serve, database_url: str, token: Any, rows: Rows
) -> None:
    browser = signed_in(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY))

    done = browser.submit(path(token, "edit"), label="weekly")

    assert browser.follow(done).texts(".messages .alert-warning") == [f"The token was changed. {LATER}"]
    assert rows.all(Token)[0].label == "weekly"


# Another secret


def test_a_new_secret_is_shown_once_and_the_old_one_works_for_the_grace(
    browse: Browse, token: Any, rows: Rows, published: Published
) -> None:
    browser = browse("operator")

    page = browser.submit(path(token, "refresh"), grace="PT1H")

    new = secret(page)
    assert new != token["token"] and published.token(new)["is_active"] == "1"
    [row] = rows.all(Token)
    assert row.previous_until and row.refreshed_at and row.previous_until - row.refreshed_at == timedelta(hours=1)
    assert "The old secret works until" in page.text and page.answer.headers["cache-control"] == "no-store"
    assert not SECRET.search(browser.get(f"/ui/tokens/{token['id']}").answer.text)


def test_the_old_secret_may_end_at_once(browse: Browse, token: Any, rows: Rows, published: Published) -> None:
    page = browse().submit(path(token, "refresh"), grace="0")

    assert "The old secret has ended." in page.text and rows.all(Token)[0].previous_digest is None
    assert not published.token(token["token"]).get("is_active")


def test_a_refresh_sent_again_shows_the_same_secret(browse: Browse, token: Any, rows: Rows) -> None:
    browser = browse()
    form = browser.get(path(token, "refresh"))

    first, second = (browser.submit(form, grace="0") for _ in range(2))

    assert secret(first) == secret(second) and len(events(rows, "token.refresh")) == 1


def test_a_refresh_sent_again_after_a_revocation_shows_no_secret(browse: Browse, api: Api, token: Any) -> None:
    browser = browse()
    form = browser.get(path(token, "refresh"))
    browser.submit(form, grace="0")
    api.delete(f"tokens/{token['id']}")

    again = browser.submit(form, grace="0")

    assert "revoked" in again.errors()[""] and not SECRET.search(again.answer.text)


def test_a_refresh_of_what_was_changed_meanwhile_is_asked_again(
    browse: Browse, api: Api, token: Any, rows: Rows
) -> None:
    browser = browse()
    form = browser.get(path(token, "refresh"))
    api.patch(f"tokens/{token['id']}", label="theirs")

    page = browser.submit(form, grace="0")

    assert "changed since you opened this page" in page.errors()[""] and not events(rows, "token.refresh")
    assert secret(browser.submit(page))


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"grace": "P8D"}, "grace", "zero to P7D"),
        ({"grace": "soon"}, "grace", "ISO 8601"),
        ({"life": "for", "expires_in": "P400D"}, "expires_in", "at most P365D"),
        ({"life": "until", "expires_at": "2020-01-01T00:00"}, "expires_at", "longer than zero"),
    ],
    ids=str,
)
def test_a_bad_refresh_is_refused_at_its_field(
    browse: Browse, token: Any, rows: Rows, fields: dict[str, str], field: str, reason: str
) -> None:
    page = browse().submit(path(token, "refresh"), **fields)

    assert list(page.errors()) == [field] and reason in page.errors()[field]
    assert not events(rows, "token.refresh")


def test_a_token_that_is_over_needs_a_new_life(browse: Browse, rows: Rows) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    token = rows.token(rows.project(), expires_at=past)
    browser = browse()

    form = browser.get(f"/ui/tokens/{token.id}/refresh")
    assert "" not in [option["value"] for option in form.all("#field-life option")]
    assert secret(browser.submit(form, life="P1D")) and rows.fresh(token).expires_at > datetime.now(UTC)


# Revoked


def test_a_token_is_revoked_after_saying_what_that_means(
    browse: Browse, token: Any, rows: Rows, published: Published
) -> None:
    browser = browse("operator")

    question = browser.get(path(token, "revoke"))
    assert "Revoke nightly?" in question.text and "is refused from the next request on" in question.text
    assert rows.all(Token)[0].revoked_at is None

    done = browser.submit(question)
    assert "The token is revoked." in browser.follow(done).text
    assert rows.all(Token)[0].revoked_at and published.token(token["token"])["is_active"] == "0"
    assert len(events(rows, "token.revoke")) == 1


def test_a_revocation_is_asked_again_when_the_token_was_changed_meanwhile(
    browse: Browse, api: Api, token: Any, rows: Rows
) -> None:
    browser = browse()
    question = browser.get(path(token, "revoke"))
    api.patch(f"tokens/{token['id']}", label="theirs")

    again = browser.submit(question)

    assert again.status == 412 and "Revoke theirs?" in again.text and rows.all(Token)[0].revoked_at is None
    assert browser.submit(again).status == 303 and rows.all(Token)[0].revoked_at


def test_to_revoke_twice_is_no_fault(browse: Browse, token: Any, rows: Rows) -> None:
    browser = browse()
    question = browser.get(path(token, "revoke"))

    pages = [browser.follow(browser.submit(question)) for _ in range(2)]

    assert [page.status for page in pages] == [200, 200] and "revoked already" in pages[1].text
    assert len(events(rows, "token.revoke")) == 1


def test_a_revocation_while_redis_is_away_is_kept_and_said_to_come_later(
    serve: Serve, database_url: str, token: Any, rows: Rows
) -> None:
    browser = signed_in(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY))

    done = browser.submit(path(token, "revoke"))

    assert browser.follow(done).texts(".messages .alert-warning") == [f"The token is revoked. {LATER}"]
    assert rows.all(Token)[0].revoked_at


@pytest.mark.parametrize("part", ["edit", "refresh", "revoke"])
def test_whoever_may_only_look_changes_nothing(browse: Browse, token: Any, rows: Rows, part: str) -> None:
    browser = browse("auditor")

    assert browser.get(path(token, part)).status == 403
    assert browser.post(path(token, part), label="x", grace="0", state="").status == 403
    assert rows.all(Token)[0].version == 1


@pytest.mark.parametrize("part", ["edit", "refresh", "revoke"])
def test_a_form_that_does_not_say_what_it_is_for_changes_nothing(
    browse: Browse, token: Any, rows: Rows, part: str
) -> None:
    page = browse().submit(path(token, part), label="x", state=None)

    assert page.status in (412, 422) and rows.all(Token)[0].version == 1
