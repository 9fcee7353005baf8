"""Rules of signing in and out: with a token of the API, into a session that nobody can fix, and that ends."""

import pytest
import redis
from flask import Flask

from manager.tables import AuditEvent, UiSession
from manager.ui import cookies
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, NOBODY, PEPPER, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen

pytestmark = one_database
WRONG = "llmp-op-00000000000000000000000000000000026BYXP"
COOKIE = "llm_proxy_session"


def secret_of(browser: Browser, name: str = COOKIE, path: str = "/ui") -> str:
    """The secret that a browser keeps; empty if it has none."""
    cookie = browser.client.get_cookie(name, path=path)
    return cookie.value if cookie else ""


def set_cookies(page: Seen, name: str = COOKIE) -> list[str]:
    """What an answer tells the browser to keep under a name."""
    return [line for line in page.answer.headers.getlist("set-cookie") if line.startswith(f"{name}=")]


@pytest.mark.parametrize("path", ["/ui/sessions", "/ui/nothing", "/ui/sessions?a=b%2Fc"])
def test_who_is_nobody_is_sent_to_sign_in_and_then_back(browse: Browse, path: str) -> None:
    browser = browse(None)

    page = browser.follow(browser.get(path))
    answer = browser.submit(page, token=MANAGEMENT_TOKEN)

    assert answer.goes_to == path


@pytest.mark.parametrize("path", ["/ui", "/ui/"])
def test_home_needs_somebody_as_well(browse: Browse, path: str) -> None:
    assert browse(None).get(path).goes_to == "/ui/sign-in"


def test_the_root_leads_to_the_ui(browse: Browse) -> None:
    assert browse(None).get("/").goes_to == "/ui/"


@pytest.mark.parametrize("role", ["management", "auditor", "operator", "admin"])
def test_whoever_has_a_token_gets_in_as_what_they_are(browse: Browse, role: str) -> None:
    page = browse(role).get("/ui/sessions")

    assert page.status == 200
    assert page.texts(".whoami-role") == ["admin" if role == "management" else role]


def test_space_around_a_token_does_not_matter(browse: Browse) -> None:
    assert browse(None).sign_in(f"  {MANAGEMENT_TOKEN}\n").status == 303


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        ("", 422, "Enter your token."),
        (" ", 422, "Enter your token."),
        (WRONG, 401, "not known"),
        ("nonsense", 401, "not known"),
        ("a.b.c", 401, "not known"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), 401, "not known"),
        ("x" * 100_000, 401, "not known"),
    ],
    ids=["nothing", "space", "wrong", "nonsense", "jwt", "bytes", "long"],
)
def test_anything_else_is_refused(browse: Browse, token: str, status: int, said: str) -> None:
    browser = browse(None)

    page = browser.sign_in(token)

    assert page.status == status and said in page.texts(".alert")[0]
    assert page.one("#token").get("value") is None and secret_of(browser) == ""


def test_where_one_wanted_to_go_outlives_a_wrong_token(browse: Browse) -> None:
    browser = browse(None)

    page = browser.submit("/ui/sign-in?next=/ui/sessions", token=WRONG)

    assert browser.submit(page, token=MANAGEMENT_TOKEN).goes_to == "/ui/sessions"


def test_a_revoked_operator_does_not_get_in(browse: Browse, api: Api) -> None:
    ann = api.operator("operator", name="ann")
    api.delete(f"operators/{ann.get('me').json['id']}")

    assert "revoked" in browse(None).sign_in(ann.bearer).texts(".alert")[0]


def test_a_withering_token_does_not_open_the_ui(browse: Browse, api: Api) -> None:
    secret = api.token(api.project()["id"])["token"]

    assert browse(None).sign_in(secret).status == 401


def test_who_is_signed_in_need_not_do_so_again(browse: Browse) -> None:
    assert browse("auditor").get("/ui/sign-in", next="/ui/sessions").goes_to == "/ui/sessions"


# Haste


@pytest.fixture
def throttled(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Browser:
    """A browser before a service that takes three wrong tokens."""
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_LOGIN_FAILURES="3")
    return Browser(app.test_client())


def test_who_tries_too_many_tokens_waits_even_with_the_right_one(throttled: Browser) -> None:
    assert [throttled.sign_in(WRONG).status for _ in range(4)] == [401, 401, 401, 429]

    page = throttled.sign_in(MANAGEMENT_TOKEN)

    assert page.status == 429 and 1 <= int(page.answer.headers["retry-after"]) <= 60
    assert "Too many wrong tokens" in page.texts(".alert")[0]


def test_wrong_tokens_count_whether_they_come_here_or_to_the_api(throttled: Browser) -> None:
    for _ in range(3):
        throttled.sign_in(WRONG)

    answer = throttled.client.get("/manage/me", headers={"authorization": f"Bearer {MANAGEMENT_TOKEN}"})

    assert answer.status_code == 429


def test_an_empty_form_is_no_attempt(throttled: Browser) -> None:
    assert {throttled.sign_in("").status for _ in range(9)} == {422}

    assert throttled.sign_in(MANAGEMENT_TOKEN).status == 303


def test_without_redis_it_is_the_same(serve: Serve, database_url: str) -> None:
    app = serve(DATABASE_URL=database_url, REDIS_URL=NOBODY, LLM_PROXY_LOGIN_FAILURES="3")
    lonely = Browser(app.test_client())

    assert [lonely.sign_in(WRONG).status for _ in range(4)] == [401, 401, 401, 429]


@pytest.fixture
def limited(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Browser:
    """A browser before a service that takes five requests an hour."""
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_API_RATE="5 per hour")
    return Browser(app.test_client())


def test_pages_count_as_requests_and_what_they_are_made_of_does_not(limited: Browser) -> None:
    limited.sign_in(MANAGEMENT_TOKEN)
    page = limited.get("/ui/sessions")
    for link in page.all("link[rel=stylesheet], script[src]"):
        assert limited.get(str(link.get("href") or link.get("src"))).status == 200

    statuses = [limited.get("/ui/sessions").status for _ in range(4)]

    assert statuses == [200, 200, 200, 429]
    page = limited.get("/ui/sessions")
    assert "5 per hour" in page.text and int(page.answer.headers["retry-after"]) > 0


def test_requests_to_the_api_and_pages_are_counted_together(limited: Browser) -> None:
    limited.sign_in(MANAGEMENT_TOKEN)
    headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    for _ in range(4):
        limited.client.get("/manage/me", headers=headers)

    assert limited.get("/ui/sessions").status == 429


def test_signing_in_again_and_again_is_counted_as_well(limited: Browser) -> None:
    page = limited.get("/ui/sign-in")
    left = limited.client.get_cookie(cookies.PAGES, path="/ui")

    def replay() -> int:
        limited.client.set_cookie(cookies.PAGES, left.value if left else "", path="/ui")
        return limited.submit(page, token=MANAGEMENT_TOKEN).status

    assert [replay() for _ in range(6)] == [303] * 5 + [429]


# Cookies


def test_the_secret_is_out_of_reach_of_scripts_and_other_sites(browse: Browse) -> None:
    [line] = set_cookies(browse(None).sign_in(MANAGEMENT_TOKEN))

    assert {"HttpOnly", "SameSite=Lax", "Path=/ui"} <= set(line.split("; ")) and "Max-Age" not in line


@pytest.mark.parametrize("name", ["__Host-llm_proxy_session", f"__Host-{cookies.PAGES}"])
def test_behind_tls_cookies_do_not_leave_it(browse: Browse, name: str) -> None:
    browser = browse(None)
    page = browser.open("GET", "/ui/sign-in", base_url="https://llm.example")
    sent = {"csrf_token": page.one("meta[name=csrf-token]")["content"], "token": MANAGEMENT_TOKEN}

    answer = browser.open("POST", "/ui/sign-in", base_url="https://llm.example", data=sent)

    lines = [*set_cookies(page, name), *set_cookies(answer, name)]
    assert lines and all("Secure" in line.split("; ") and "HttpOnly" in line for line in lines)
    assert all("Path=/" in line.split("; ") and "Domain" not in line for line in lines)
    assert browser.open("GET", "/ui/sessions", base_url="https://llm.example").status == 200


@pytest.mark.parametrize(("said", "is_secure"), [("https", True), ("http", False), ("https,http", True), ("", False)])
def test_a_reverse_proxy_says_whether_there_is_tls(
    serve: Serve, database_url: str, valkey_url: str, redis_client: redis.Redis, said: str, is_secure: bool
) -> None:
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_PROXIES_IN_FRONT="2")

    page = Browser(app.test_client()).open("GET", "/ui/sign-in", headers={"x-forwarded-proto": said})

    [line] = set_cookies(page, f"__Host-{cookies.PAGES}" if is_secure else cookies.PAGES)
    assert ("Secure" in line.split("; ")) is is_secure


def test_without_reverse_proxies_nobody_may_say_so(browse: Browse) -> None:
    page = browse(None).open("GET", "/ui/sign-in", headers={"x-forwarded-proto": "https"})

    assert "Secure" not in set_cookies(page, cookies.PAGES)[0]


def test_no_cookie_holds_a_token_or_the_digest_of_the_secret(browse: Browse, rows: Rows) -> None:
    browser = browse(None)
    answer = browser.sign_in(MANAGEMENT_TOKEN)

    [row] = rows.all(UiSession)
    kept = "\n".join(answer.answer.headers.getlist("set-cookie"))
    assert MANAGEMENT_TOKEN not in kept and row.digest not in kept
    assert secret_of(browser) not in (row.digest, row.credential) and len(secret_of(browser)) >= 40


def test_cookies_are_signed_with_a_key_of_their_own(app: Flask) -> None:
    assert isinstance(app.secret_key, bytes) and len(app.secret_key) == 32
    assert PEPPER.encode() not in app.secret_key


def test_who_is_remembered_keeps_the_cookie(browse: Browse) -> None:
    [line] = set_cookies(browse(None).sign_in(MANAGEMENT_TOKEN, remember="on"))

    assert f"Max-Age={30 * 24 * 3600}" in line


def test_a_secret_that_the_browser_brought_along_is_not_taken(browse: Browse) -> None:
    victim, attacker = browse(None), browse("auditor")
    planted = secret_of(attacker)
    victim.client.set_cookie(COOKIE, planted, path="/ui")
    attacker.post("/ui/sign-out")

    victim.sign_in(MANAGEMENT_TOKEN)

    assert secret_of(victim) not in ("", planted)
    victim.client.set_cookie(COOKIE, planted, path="/ui")
    assert victim.get("/ui/sessions").goes_to.startswith("/ui/sign-in")


def test_what_pages_left_before_signing_in_is_gone_after(browse: Browse) -> None:
    browser = browse(None)
    before = browser.csrf("/ui/sign-in")
    browser.sign_in(MANAGEMENT_TOKEN)

    answer = browser.open("POST", "/ui/sign-out", data={"csrf_token": before})

    assert answer.status == 400


@pytest.mark.parametrize("secret", ["", "x", "\xff", "x" * 4000, "'; --"], ids=["nothing", "x", "byte", "long", "sql"])
def test_a_made_up_secret_opens_nothing(browse: Browse, secret: str) -> None:
    browser = browse(None)
    browser.client.set_cookie(COOKIE, secret, path="/ui")

    assert browser.get("/ui/sessions").goes_to.startswith("/ui/sign-in")


# Signing out


def test_signing_out_ends_the_session_and_says_so(browse: Browse, rows: Rows) -> None:
    browser = browse("auditor")
    secret = secret_of(browser)

    page = browser.follow(browser.post("/ui/sign-out"))

    assert (page.path, page.texts(".messages .alert")) == ("/ui/sign-in", ["You are signed out."])
    assert rows.all(UiSession) == [] and secret_of(browser) == ""
    browser.client.set_cookie(COOKIE, secret, path="/ui")
    assert browser.get("/ui/sessions").goes_to.startswith("/ui/sign-in")


def test_a_link_does_not_sign_anybody_out(browse: Browse) -> None:
    browser = browse("auditor")

    assert browser.get("/ui/sign-out").status == 405 and browser.get("/ui/sessions").status == 200


def test_both_are_told_in_the_audit(browse: Browse, api: Api, rows: Rows) -> None:
    browser = browse("operator", name="ann")
    [row] = rows.all(UiSession)
    browser.post("/ui/sign-out")

    events = api.get("audit", actor="ann").json["items"]

    assert [event["action"] for event in events] == ["session.end", "session.begin", "login"]
    assert [event["subject_id"] for event in events[:2]] == [str(row.id)] * 2
    assert events[1]["detail"] == {"remembered": False} and events[1]["address"] == "127.0.0.1"


def test_wrong_tokens_are_told_in_the_audit(browse: Browse, api: Api) -> None:
    browse(None).sign_in(WRONG)

    text = api.get("audit", action="login", outcome="failed").text
    assert '"anonymous"' in text and WRONG[8:] not in text


# Where to go


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/ui/",
        "//example.org/ui/",
        "/\\example.org",
        "\\\\example.org",
        "/ui//example.org",
        "/ui/../manage/docs",
        "/ui/./x",
        "/ui/%2e%2e/manage",
        "/ui/\nx",
        "/ui/x\r\nset-cookie: a=b",
        "/ui/ü",
        "/manage/docs",
        "/uix",
        "ui/sessions",
        "javascript:alert(1)",
        "/ui/sign-out",
        "/ui/sign-in?next=/ui/x",
        "/ui/" + "x" * 2000,
        "",
    ],
    ids=lambda path: ascii(path)[:40],
)
def test_nobody_is_led_elsewhere(browse: Browse, path: str) -> None:
    browser = browse(None)
    page = browser.get("/ui/sign-in", next=path)

    assert page.one(".sign-in input[name=next]")["value"] == "/ui/"
    assert browser.submit(page, token=MANAGEMENT_TOKEN, next=path).goes_to == "/ui/"
    assert browser.get("/ui/sign-in", next=path).goes_to == "/ui/"


# Forgery


@pytest.mark.parametrize("token", [None, "", "x", "IjEi.x.y"], ids=["none", "empty", "short", "signed"])
def test_a_form_without_its_token_does_nothing(browse: Browse, rows: Rows, token: str | None) -> None:
    browser = browse("auditor")

    page = browser.open("POST", "/ui/sign-out", data={} if token is None else {"csrf_token": token})

    assert page.status == 400 and "Go back, reload the page" in page.text
    assert len(rows.all(UiSession)) == 1


def test_the_token_of_somebody_else_is_none(browse: Browse) -> None:
    browser, other = browse("auditor"), browse("operator")

    assert browser.open("POST", "/ui/sign-out", data={"csrf_token": other.csrf()}).status == 400


@pytest.mark.parametrize("path", ["/ui/sign-in", "/ui/theme", "/ui/sign-out", "/ui/nothing"])
def test_no_form_is_taken_without_one(browse: Browse, path: str) -> None:
    assert browse("auditor").open("POST", path, data={"token": MANAGEMENT_TOKEN, "theme": "dark"}).status in (400, 404)


@pytest.mark.parametrize(("site", "status"), [("cross-site", 400), ("same-site", 400), ("same-origin", 303)])
def test_what_another_site_sends_is_refused(browse: Browse, site: str, status: int) -> None:
    browser = browse("auditor")
    sent = {"csrf_token": browser.csrf()}

    assert browser.open("POST", "/ui/sign-out", data=sent, headers={"sec-fetch-site": site}).status == status


def test_the_token_may_come_in_a_header(browse: Browse) -> None:
    browser = browse("auditor")

    assert browser.open("POST", "/ui/sign-out", headers={"x-csrftoken": browser.csrf()}).status == 303


def test_the_api_needs_no_token_against_forgery(api: Api) -> None:
    assert api.post("projects", name="search team", api_key="sk-proj-0123456789abcdef").status_code == 201


def test_a_session_opens_nothing_of_the_api(browse: Browse) -> None:
    browser = browse()

    assert browser.client.get("/manage/projects").status_code == 401


def test_a_token_opens_no_page(app: Flask) -> None:
    answer = app.test_client().get("/ui/sessions", headers={"authorization": f"Bearer {MANAGEMENT_TOKEN}"})

    assert answer.status_code == 401


@pytest.mark.parametrize("role", ["admin", "management"])
def test_signing_in_again_ends_the_session_that_there_was(browse: Browse, api: Api, rows: Rows, role: str) -> None:
    browser = browse(role)
    [before] = rows.all(UiSession)
    other = browse(None)
    page = other.get("/ui/sign-in")
    other.client.set_cookie(COOKIE, secret_of(browser), path="/ui")

    token = api.operator("auditor", name="ann").bearer
    assert other.submit(page, token=token).status == 303

    [row] = rows.all(UiSession)
    assert row.id != before.id and row.name == "ann"
    assert browser.get("/ui/sessions").goes_to.startswith("/ui/sign-in")
    ended = [event for event in rows.all(AuditEvent) if event.action == "session.end"]
    assert [event.subject_id for event in ended] == [before.id]
