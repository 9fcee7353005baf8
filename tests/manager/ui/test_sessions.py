"""Rules of being signed in: what ends it takes effect with the next request, and one sees where one is signed in."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
import time_machine

from manager.tables import Operator, UiSession
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen

pytestmark = one_database
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def after(time: timedelta) -> time_machine.travel:
    """So long from now on."""
    return time_machine.travel(datetime.now(UTC) + time, tick=False)


def is_signed_in(browser: Browser) -> bool:
    page = browser.get("/ui/sessions")
    assert page.status == 200 or page.goes_to.startswith("/ui/sign-in")
    return page.status == 200


@pytest.mark.parametrize(("remember", "hours", "stays"), [(None, 7, True), (None, 8, False), ("on", 700, True)])
def test_a_session_lasts_as_long_as_it_may(browse: Browse, remember: str | None, hours: int, stays: bool) -> None:
    browser = browse(None)
    browser.sign_in(MANAGEMENT_TOKEN, remember=remember)

    with after(hours * HOUR):
        assert is_signed_in(browser) is stays


def test_who_comes_now_and_then_stays(browse: Browse, rows: Rows) -> None:
    browser, now = browse("auditor"), datetime.now(UTC)

    for hours in (7, 14, 21):
        with time_machine.travel(now + hours * HOUR, tick=False):
            assert is_signed_in(browser)

    [row] = rows.all(UiSession)
    assert row.seen_at == now + 21 * HOUR and row.expires_at == now + 29 * HOUR
    assert rows.all(Operator)[0].last_used_at == now + 21 * HOUR


def test_the_settings_say_how_long(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> None:
    short = {"LLM_PROXY_UI_IDLE": "PT10M", "LLM_PROXY_UI_REMEMBER": "PT1H"}
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, **short)
    idle, remembered = Browser(app.test_client()), Browser(app.test_client())
    idle.sign_in(MANAGEMENT_TOKEN)
    [line] = [
        line
        for line in remembered.sign_in(MANAGEMENT_TOKEN, remember="on").answer.headers.getlist("set-cookie")
        if "Max-Age=3600" in line
    ]

    with after(11 * MINUTE):
        assert (is_signed_in(idle), is_signed_in(remembered)) == (False, True)


def test_an_ended_session_says_so_once(browse: Browse, rows: Rows) -> None:
    browser = browse("auditor")
    rows.change(rows.all(UiSession)[0], expires_at=LONG_AGO)

    page = browser.follow(browser.get("/ui/sessions"))

    assert page.texts(".messages .alert") == ["Your session has ended. Please sign in again."]
    assert browser.get("/ui/sign-in").texts(".messages .alert") == []


def test_a_form_that_comes_too_late_leads_back_to_its_page(browse: Browse, rows: Rows) -> None:
    browser = browse("auditor")
    token = browser.csrf()
    rows.change(rows.all(UiSession)[0], expires_at=LONG_AGO)

    ended = browser.open("POST", "/ui/sessions/end-others", data={"csrf_token": token})

    assert ended.goes_to == "/ui/sign-in"  # There is no page of that address.


@pytest.mark.parametrize(
    "headers",
    [{"accept": "text/event-stream"}, {"accept": "application/json"}, {"sec-fetch-mode": "cors", "accept": "*/*"}],
    ids=["events", "json", "fetch"],
)
def test_scripts_are_told_and_not_sent_to_the_page(browse: Browse, headers: dict[str, str]) -> None:
    page = browse(None).open("GET", "/ui/sessions", headers=headers)

    assert page.status == 401 and "www-authenticate" not in page.answer.headers


# Operators


def own_id(api: Api, name: str) -> str:
    [found] = [row["id"] for row in api.get("operators").json["items"] if row["name"] == name]
    return str(found)


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_an_operator_without_its_token_is_signed_out_at_once(browse: Browse, api: Api, how: str) -> None:
    browser = browse("operator", name="ann")
    path = f"operators/{own_id(api, 'ann')}"

    answer = api.delete(path) if how == "revoke" else api.post(f"{path}/rotate")

    assert answer.status_code in (200, 204) and not is_signed_in(browser)


def test_an_operator_that_expires_is_signed_out(browse: Browse, api: Api) -> None:
    browser = browse("operator", name="ann", expires_in="PT1H")

    with after(HOUR):
        assert not is_signed_in(browser)


def test_another_role_holds_at_once(browse: Browse, api: Api) -> None:
    browser = browse("admin", name="ann")

    api.patch(f"operators/{own_id(api, 'ann')}", role="auditor")

    assert browser.get("/ui/sessions").texts(".whoami-role") == ["auditor"]


def test_another_management_token_ends_the_sessions_of_the_old_one(
    browse: Browse, serve: Serve, database_url: str, valkey_url: str
) -> None:
    browser, ann = browse(), browse("auditor")
    changed = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, MANAGEMENT_TOKEN=MANAGEMENT_TOKEN[::-1])

    def elsewhere(browser: Browser) -> Browser:
        moved = Browser(changed.test_client())
        moved.client.set_cookie("llm_proxy_session", browser.client.get_cookie("llm_proxy_session", path="/ui").value)  # type: ignore[union-attr]
        return moved

    assert is_signed_in(elsewhere(ann)) and not is_signed_in(elsewhere(browser))


# One's own sessions


def shown(page: Seen) -> list[str]:
    return page.texts("tbody tr td:last-child")


def test_one_sees_ones_own_sessions_alone(browse: Browse, api: Api) -> None:
    ann = api.operator("operator", name="ann")
    first, second = browse(None), browse(None)
    first.sign_in(ann.bearer), second.sign_in(ann.bearer), browse("auditor")

    assert sorted(shown(first.get("/ui/sessions"))) == ["End", "this one"]


def test_one_ends_another_session_of_ones_own(browse: Browse, api: Api) -> None:
    first, second = browse(), browse()

    page = first.follow(first.submit("/ui/sessions", "td form"))

    assert page.texts(".alert") == ["The session is over."] and shown(page) == ["this one"]
    assert not is_signed_in(second)
    assert api.get("audit", action="session.end").json["items"][0]["subject_id"]


def test_one_ends_all_others(browse: Browse, api: Api) -> None:
    first, *others = browse(), browse(), browse()

    page = first.follow(first.submit("/ui/sessions", ".page-actions form"))

    assert page.texts(".alert") == ["2 other sessions are over."] and page.all(".page-actions form") == []
    assert not any(map(is_signed_in, others))
    assert api.get("audit", action="session.end").json["items"][0]["detail"] == {"sessions": 2}
    assert first.follow(first.post("/ui/sessions/end-others")).texts(".alert") == ["0 other sessions are over."]


def test_nobody_ends_the_session_of_somebody_else(browse: Browse, rows: Rows) -> None:
    browse()
    [row] = rows.all(UiSession)

    assert browse("admin").post(f"/ui/sessions/{row.id}/end").status == 404
    assert row.id in [each.id for each in rows.all(UiSession)]
