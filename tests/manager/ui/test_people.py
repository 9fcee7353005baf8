"""Rules of signing in at an issuer: whom it vouches for gets in, as what the claims say, for hours, and nobody else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
import pytest
import redis
import time_machine
from structlog.testing import capture_logs

from manager import issuer_http
from manager.issuer_keys import PAUSE_SECONDS
from manager.oidc_attempts import SECONDS
from manager.tables import UiSession
from manager.ui import cookies
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, Rows, Serve, one_database
from tests.manager.issuer import Issuer, Key, digest, serving, written
from tests.manager.ui.conftest import Browser, Seen

pytestmark = one_database
KEY, STRANGER = Key("rsa-1"), Key("rsa-1")
HERE = "http://localhost"
BEGIN, CALLBACK = "/ui/sign-in/oidc", "/ui/sign-in/oidc/callback"
CLIENT, SECRET = "admin-ui", "s3cret:of the client/+%ü"
SESSION, BEGUN = "llm_proxy_session", "llm_proxy_begun"

type Enter = Callable[..., "Person"]


@dataclass(frozen=True)
class Person:
    """Somebody with a browser, before a service that trusts an issuer."""

    browser: Browser
    issuer: Issuer

    def leave(self, next: str = "/ui/sessions") -> str:
        """Go to the issuer; return its address."""
        return self.browser.get(BEGIN, next=next).goes_to

    def come_back(self, url: str, **changes: str | None) -> Seen:
        """Come back from it, with parameters of the address changed, or left out if they are None."""
        given = dict(parse_qsl(urlsplit(url).query)) | changes
        kept = {name: value for name, value in given.items() if value is not None}
        return self.browser.get(f"{urlsplit(url).path}?{urlencode(kept)}")

    def sign_in(self, next: str = "/ui/sessions") -> Seen:
        return self.come_back(self.issuer.authorize(self.leave(next)))

    @property
    def is_signed_in(self) -> bool:
        return self.browser.get("/ui/sessions").status == 200

    @property
    def begun(self) -> str:
        """What the browser keeps of a sign-in; empty if nothing."""
        return kept(self.browser, BEGUN)

    def other(self) -> "Person":
        """Somebody else, before the same service."""
        return replace(self, browser=Browser(self.browser.client.application.test_client()))

    def api(self) -> Api:
        """The management token's owner."""
        return Api(self.browser.client.application.test_client())


def kept(browser: Browser, name: str) -> str:
    cookie = browser.client.get_cookie(name, path="/ui")
    return cookie.value if cookie else ""


def why(page: Seen) -> str:
    """What the sign-in page says was wrong."""
    return page.texts(".sign-in .alert")[0]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(KEY) as running:
        running.client(CLIENT, HERE + CALLBACK)
        yield running


@pytest.fixture
def enter(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str, issuer: Issuer) -> Enter:
    """Gives somebody before a service with these variables; one that is None is not set."""
    usual = {
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey_url,
        "LLM_PROXY_OIDC_ISSUER": issuer.url,
        "LLM_PROXY_OIDC_ROLES": "ops=operator, security=auditor",
        "LLM_PROXY_OIDC_CLIENT_ID": CLIENT,
    }

    def enter(**variables: str | None) -> Person:
        wanted = {name: value for name, value in (usual | variables).items() if value is not None}
        return Person(Browser(serve(**wanted).test_client()), issuer)

    return enter


@pytest.fixture
def ann(enter: Enter) -> Person:
    return enter()


# The way there


def test_the_sign_in_page_shows_the_way_and_where_one_wanted_to_go(enter: Enter) -> None:
    ann = enter(LLM_PROXY_OIDC_NAME="Example & <Login>")

    page = ann.browser.follow(ann.browser.get("/ui/sessions?a=b"))

    link = page.one(".sign-in a")
    assert link.get_text().strip() == "Sign in with Example & <Login>"
    assert ann.browser.get(str(link["href"])).goes_to.startswith(f"{ann.issuer.url}/authorize?")


@pytest.mark.parametrize("variables", [{"LLM_PROXY_OIDC_CLIENT_ID": None}, {"LLM_PROXY_OIDC_ISSUER": None}])
def test_without_a_client_there_is_no_such_way(enter: Enter, variables: dict[str, None]) -> None:
    browser = enter(**{"LLM_PROXY_OIDC_CLIENT_ID": None} | variables).browser

    assert browser.get("/ui/sign-in").all(".sign-in a") == []
    assert [browser.get(path).status for path in (BEGIN, CALLBACK)] == [404, 404]


def test_the_issuer_is_asked_for_a_code_that_serves_this_browser_alone(enter: Enter) -> None:
    ann = enter(LLM_PROXY_OIDC_SCOPES="openid  groups")

    asked = [parse_qs(urlsplit(ann.leave()).query, strict_parsing=True) for _ in range(2)]

    for each in asked:
        secrets = [each.pop(name)[0] for name in ("state", "nonce", "code_challenge")]
        assert all(len(secret) == 43 for secret in secrets) and len(set(secrets)) == 3
        assert each == {
            "response_type": ["code"],
            "client_id": [CLIENT],
            "redirect_uri": [HERE + CALLBACK],
            "scope": ["openid groups"],
            "code_challenge_method": ["S256"],
        }


def test_no_two_sign_ins_have_anything_in_common(ann: Person) -> None:
    one, other = (dict(parse_qsl(urlsplit(ann.leave()).query)) for _ in range(2))

    assert not {one[name] for name in ("state", "nonce", "code_challenge")} & set(other.values())


def test_what_the_issuers_address_asks_already_is_kept(ann: Person) -> None:
    ann.issuer.described["authorization_endpoint"] += "?tenant=a%20b#top"

    assert ann.leave().startswith(f"{ann.issuer.url}/authorize?tenant=a%20b&response_type=code&")
    assert "#" not in ann.leave()


def test_what_the_browser_keeps_is_sealed_short_lived_and_out_of_reach(ann: Person) -> None:
    page = ann.browser.get(BEGIN)

    [line] = [line for line in page.answer.headers.getlist("set-cookie") if line.startswith(f"{BEGUN}=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/ui", f"Max-Age={SECONDS}"} <= set(line.split("; "))
    told = parse_qs(urlsplit(page.goes_to).query)
    assert not [value for values in told.values() for value in values if len(value) > 40 and value in ann.begun]
    assert page.answer.headers["cache-control"] == "no-store"


def test_behind_tls_it_is_bound_to_the_host(enter: Enter) -> None:
    ann = enter(LLM_PROXY_MANAGER_URL="https://llm.example")
    ann.issuer.client(CLIENT, f"https://llm.example{CALLBACK}")

    page = ann.browser.open("GET", BEGIN, base_url="https://llm.example")
    [line] = [line for line in page.answer.headers.getlist("set-cookie") if line.startswith(f"__Host-{BEGUN}=")]
    assert {"Secure", "HttpOnly", "Path=/"} <= set(line.split("; "))

    back = urlsplit(ann.issuer.authorize(page.goes_to))
    answer = ann.browser.open("GET", f"{back.path}?{back.query}", base_url="https://llm.example")
    assert answer.goes_to == "/ui/"
    lines = answer.answer.headers.getlist("set-cookie")
    assert any(line.startswith(f"__Host-{BEGUN}=;") for line in lines)
    assert any(line.startswith(f"__Host-{SESSION}=") and "Secure" in line for line in lines)


def test_who_is_signed_in_need_not_go_there(ann: Person) -> None:
    ann.browser.sign_in(MANAGEMENT_TOKEN)

    assert ann.leave("/ui/sessions") == "/ui/sessions"


# Our address


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "localhost"])
def test_on_this_machine_the_address_is_that_of_the_request(ann: Person, host: str) -> None:
    page = ann.browser.open("GET", BEGIN, headers={"host": host})

    assert parse_qs(urlsplit(page.goes_to).query)["redirect_uri"] == [f"http://{host}{CALLBACK}"]


HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "localhost:1@evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1:8000",
]


@pytest.mark.parametrize("host", HOSTS)
def test_elsewhere_nobody_may_say_what_our_address_is(ann: Person, host: str) -> None:
    page = ann.browser.open("GET", BEGIN, headers={"host": host, "x-forwarded-host": "localhost"})

    assert page.status in (400, 503) and "location" not in page.answer.headers
    assert page.status == 400 or "LLM_PROXY_MANAGER_URL" in why(page)


def test_behind_a_reverse_proxy_the_setting_alone_says_it(enter: Enter) -> None:
    assert enter(LLM_PROXY_PROXIES_IN_FRONT="1").browser.get(BEGIN).status == 503


@pytest.mark.parametrize("host", ["llm.example", *HOSTS])
def test_with_the_setting_nothing_else_counts(enter: Enter, host: str) -> None:
    browser = enter(LLM_PROXY_MANAGER_URL="https://llm.example/").browser

    page = browser.open("GET", BEGIN, headers={"host": host, "x-forwarded-host": host})

    uris = parse_qs(urlsplit(page.goes_to).query)["redirect_uri"] if page.status == 303 else []
    assert uris == [f"https://llm.example{CALLBACK}"] or (page.status == 400 and "@" in host)


def test_with_the_setting_the_way_there_begins_at_that_address(enter: Enter) -> None:
    page = enter(LLM_PROXY_MANAGER_URL="https://llm.example").browser.get("/ui/sign-in", next="/ui/sessions")

    assert page.one(".sign-in a")["href"] == f"https://llm.example{BEGIN}?next=/ui/sessions"


# Who gets in


def test_whom_the_issuer_vouches_for_gets_in_and_where_they_wanted_to(ann: Person, rows: Rows) -> None:
    assert ann.sign_in("/ui/sessions?a=b").goes_to == "/ui/sessions?a=b"

    page = ann.browser.get("/ui/sessions")
    assert (page.texts(".whoami-name"), page.texts(".whoami-role")) == (["oidc:ann"], ["operator"])
    [row] = rows.all(UiSession)
    assert (row.operator_id, row.name, row.role, row.is_remembered) == (None, "oidc:ann", "operator", False)
    assert row.expires_at == row.created_at + timedelta(hours=8) and ann.begun == ""


@pytest.mark.parametrize(("roles", "role"), [(["security"], "auditor"), (["security", "ops"], "operator")])
def test_the_claims_say_as_what(ann: Person, roles: list[str], role: str) -> None:
    ann.issuer.roles = roles
    ann.sign_in()

    assert ann.browser.get("/ui/sessions").texts(".whoami-role") == [role]


def test_a_person_may_what_the_role_may_and_no_more(ann: Person) -> None:
    ann.issuer.roles = ["security"]
    ann.sign_in()

    assert ann.browser.post("/ui/sessions/end-others").status == 303
    assert ann.browser.client.get("/manage/projects").status_code == 401


def test_a_public_client_shows_that_it_has_the_verifier(ann: Person) -> None:
    there = ann.leave()
    ann.come_back(ann.issuer.authorize(there))

    [call] = ann.issuer.exchanged
    assert call.authorization is None and call.form["client_id"] == CLIENT
    assert call.form["redirect_uri"] == HERE + CALLBACK and call.form["grant_type"] == "authorization_code"
    assert digest(call.form["code_verifier"]) == parse_qs(urlsplit(there).query)["code_challenge"][0]
    assert set(call.form) == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}


def test_a_confidential_client_shows_its_secret_as_well(enter: Enter) -> None:
    ann = enter(LLM_PROXY_OIDC_CLIENT_SECRET=SECRET)
    ann.issuer.client(CLIENT, HERE + CALLBACK, secret=SECRET)

    assert ann.sign_in().goes_to == "/ui/sessions"
    [call] = ann.issuer.exchanged
    assert set(call.form) == {"grant_type", "code", "redirect_uri", "code_verifier"}


def test_who_may_use_several_clients_may_use_this_one(ann: Person) -> None:
    ann.issuer.id_token = lambda claims: ann.issuer.token(KEY, **claims | {"aud": ["other", CLIENT], "azp": CLIENT})

    assert ann.sign_in().goes_to == "/ui/sessions"


def test_it_is_told_in_the_audit(ann: Person, rows: Rows) -> None:
    ann.sign_in()

    [row] = rows.all(UiSession)
    begun, login = ann.api().get("audit", actor="oidc:ann").json["items"]
    assert (begun["action"], begun["subject_id"], begun["detail"]) == (
        "session.begin",
        str(row.id),
        {"remembered": False},
    )
    assert (login["action"], login["outcome"], login["detail"]) == ("login", "success", {"role": "operator"})
    assert begun["actor_id"] is None and begun["address"] == "127.0.0.1"


# Who does not


@pytest.mark.parametrize("roles", [None, [], ["another"], {"ops": True}, "OPS"], ids=str)
def test_who_has_no_role_is_told_so(ann: Person, rows: Rows, roles: Any) -> None:
    ann.issuer.roles = roles

    page = ann.sign_in()

    assert page.status == 403 and "you have no role here" in why(page)
    assert rows.all(UiSession) == [] and not ann.is_signed_in
    [event] = ann.api().get("audit", action="login", outcome="failed").json["items"]
    assert event["actor"] == "anonymous"


def hmac_signed(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, SECRET.ljust(32), "HS256", {"kid": KEY.key_id})


FAULTS: dict[str, Callable[[Issuer, dict[str, Any]], object]] = {
    "another nonce": lambda issuer, claims: issuer.token(KEY, **claims | {"nonce": "x" * 43}),
    "no nonce": lambda issuer, claims: issuer.token(KEY, **claims | {"nonce": None}),
    "a list of nonces": lambda issuer, claims: issuer.token(KEY, **claims | {"nonce": [claims["nonce"]]}),
    "another audience": lambda issuer, claims: issuer.token(KEY, **claims | {"aud": "another"}),
    "the audience of the API": lambda issuer, claims: issuer.token(KEY, **claims | {"aud": "llm-proxy"}),
    "no audience": lambda issuer, claims: issuer.token(KEY, **claims | {"aud": None}),
    "audiences": lambda issuer, claims: issuer.token(KEY, **claims | {"aud": [CLIENT, "another"]}),
    "audiences, for another": lambda issuer, claims: issuer.token(
        KEY, **claims | {"aud": [CLIENT, "another"], "azp": "another"}
    ),
    "for another": lambda issuer, claims: issuer.token(KEY, **claims | {"azp": "another"}),
    "for several": lambda issuer, claims: issuer.token(KEY, **claims | {"azp": [CLIENT]}),
    "another issuer": lambda issuer, claims: issuer.token(KEY, **claims | {"iss": "https://other.example"}),
    "another's key": lambda issuer, claims: issuer.token(STRANGER, **claims),
    "an unknown key": lambda issuer, claims: issuer.token(KEY, {"kid": "made-up"}, **claims),
    "no algorithm": lambda issuer, claims: written({"alg": "none", "typ": "JWT"}, issuer.claims(**claims)),
    "no signature": lambda issuer, claims: written({"alg": "RS256", "kid": KEY.key_id}, issuer.claims(**claims)),
    "a shared secret": lambda issuer, claims: hmac_signed(issuer.claims(**claims)),
    "an access token": lambda issuer, claims: issuer.token(KEY, {"typ": "at+jwt"}, **claims),
    "too old": lambda issuer, claims: issuer.token(KEY, **claims | {"exp": 1_700_000_000}),
    "endless": lambda issuer, claims: issuer.token(KEY, **claims | {"exp": None}),
    "nobody": lambda issuer, claims: issuer.token(KEY, **claims | {"sub": None}),
    "unprintable": lambda issuer, claims: issuer.token(KEY, **claims | {"sub": "a\nb"}),
    "no token": lambda issuer, claims: "opaque",
    "empty": lambda issuer, claims: "",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(ann: Person, rows: Rows, fault: str) -> None:
    ann.issuer.id_token = lambda claims: FAULTS[fault](ann.issuer, claims)

    page = ann.sign_in()

    assert (page.status, page.path.startswith(CALLBACK), rows.all(UiSession)) == (401, True, [])
    assert why(page) and kept(ann.browser, SESSION) == ann.begun == ""


def test_the_code_of_another_client_is_not_taken(ann: Person, rows: Rows) -> None:
    ann.issuer.client("another", HERE + CALLBACK)
    there = ann.leave()
    stolen = parse_qs(urlsplit(ann.issuer.authorize(there.replace(CLIENT, "another"))).query)["code"][0]

    page = ann.come_back(ann.issuer.authorize(there), code=stolen)

    assert page.status == 401 and "(invalid_grant)" in why(page) and rows.all(UiSession) == []


def test_the_code_of_somebody_else_is_not_taken(ann: Person, rows: Rows) -> None:
    eve = ann.other()
    hers = parse_qs(urlsplit(eve.issuer.authorize(eve.leave())).query)["code"][0]

    assert ann.come_back(ann.issuer.authorize(ann.leave()), code=hers).status == 401
    assert rows.all(UiSession) == []


def test_nobody_is_signed_in_as_somebody_else(ann: Person, rows: Rows) -> None:
    """A link that somebody else was sent back by: with nothing begun here, and with something."""
    eve = ann.other()
    link = eve.issuer.authorize(eve.leave())

    assert ann.come_back(link).status == 400
    ann.leave()
    assert ann.come_back(link).status == 401
    assert rows.all(UiSession) == [] and ann.issuer.exchanged == []


@pytest.mark.parametrize("state", [None, "", "x", "ü", "x" * 43, "\0"], ids=ascii)
def test_an_answer_with_another_state_is_not_taken(ann: Person, rows: Rows, state: str | None) -> None:
    page = ann.come_back(ann.issuer.authorize(ann.leave()), state=state)

    assert page.status == 401 and "another sign-in" in why(page)
    assert rows.all(UiSession) == [] and ann.issuer.exchanged == [] and ann.begun == ""


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_what_is_there_twice_is_not_there(ann: Person, rows: Rows, name: str) -> None:
    ann.issuer.described["authorization_response_iss_parameter_supported"] = True
    back = urlsplit(ann.issuer.authorize(ann.leave()))
    more = urlencode({name: parse_qs(back.query)[name][0]})

    assert ann.browser.get(f"{back.path}?{back.query}&{more}").status == 401 and rows.all(UiSession) == []


@pytest.mark.parametrize(
    ("iss", "is_announced", "status"),
    [("", False, 401), ("https://other.example", False, 401), (None, True, 401), (None, False, 303)],
)
def test_the_answer_of_another_issuer_is_not_taken(
    ann: Person, iss: str | None, is_announced: bool, status: int
) -> None:
    ann.issuer.described["authorization_response_iss_parameter_supported"] = is_announced

    page = ann.come_back(ann.issuer.authorize(ann.leave()), iss=iss)

    assert page.status == status and len(ann.issuer.exchanged) == (status == 303)


def test_an_answer_without_a_code_is_not_taken(ann: Person) -> None:
    assert ann.come_back(ann.issuer.authorize(ann.leave()), code=None).status == 401


# Once, and not for long


def test_coming_back_a_second_time_does_nothing(ann: Person, rows: Rows) -> None:
    link = ann.issuer.authorize(ann.leave())
    ann.come_back(link)

    assert ann.come_back(link).goes_to == "/ui/"
    page = ann.other().come_back(link)

    assert page.status == 400 and "too long, or has begun in another browser" in why(page)
    assert len(rows.all(UiSession)) == len(ann.issuer.exchanged) == 1


def test_not_even_with_what_the_browser_has_kept_until_then(ann: Person, rows: Rows) -> None:
    link, thief = ann.issuer.authorize(ann.leave()), ann.other()
    thief.browser.client.set_cookie(BEGUN, ann.begun, path="/ui")
    ann.come_back(link)

    page = thief.come_back(link)

    assert page.status == 401 and "used already" in why(page)
    assert len(rows.all(UiSession)) == len(ann.issuer.exchanged) == 1


def test_one_that_failed_is_used_up_as_well(ann: Person) -> None:
    link = ann.issuer.authorize(ann.leave())
    begun = ann.begun
    ann.come_back(link, code="made-up")
    ann.browser.client.set_cookie(BEGUN, begun, path="/ui")

    assert "used already" in why(ann.come_back(link)) and len(ann.issuer.exchanged) == 1


@pytest.mark.parametrize(("seconds", "status"), [(SECONDS - 1, 303), (SECONDS + 1, 400)])
def test_who_takes_too_long_begins_again(ann: Person, seconds: int, status: int) -> None:
    link = ann.leave()
    begun = ann.begun

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=False):
        ann.browser.client.set_cookie(BEGUN, begun, path="/ui")
        page = ann.come_back(ann.issuer.authorize(link))

    assert page.status == status


@pytest.mark.parametrize("made_up", ["x", "ü", "gAAAAAB" + "x" * 200], ids=["x", "byte", "long"])
def test_a_made_up_beginning_is_none(ann: Person, made_up: str) -> None:
    link = ann.issuer.authorize(ann.leave())
    ann.browser.client.set_cookie(BEGUN, made_up, path="/ui")

    assert ann.come_back(link).status == 400


def test_what_has_begun_under_other_settings_is_none(enter: Enter) -> None:
    before, after = enter(), enter(LLM_PROXY_OIDC_CLIENT_ID="another")
    link = before.issuer.authorize(before.leave())
    after.browser.client.set_cookie(BEGUN, before.begun, path="/ui")

    assert after.come_back(link).status == 400


# What the issuer says instead


def test_who_cancels_is_told_so_and_may_begin_again(ann: Person) -> None:
    page = ann.come_back(ann.issuer.authorize(ann.leave()), code=None, error="access_denied")

    assert page.status == 400 and "You have not signed in" in why(page)
    assert page.one(".sign-in a")["href"] == f"{BEGIN}?next=/ui/sessions" and ann.issuer.exchanged == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("temporarily_unavailable", "(temporarily_unavailable)"),
        ("<script>alert(1)</script>", "(unknown)"),
        ("", "(unknown)"),
        ("x" * 1000, "(unknown)"),
    ],
)
def test_other_errors_are_told_by_their_code(ann: Person, error: str, said: str) -> None:
    page = ann.come_back(
        ann.issuer.authorize(ann.leave()), code=None, error=error, error_description="Call +1 555 0100"
    )

    assert page.status == 400 and said in why(page) and "555" not in page.text


def test_an_error_for_another_sign_in_is_not_told(ann: Person) -> None:
    ann.leave()

    assert "access_denied" not in why(ann.browser.get(CALLBACK, error="access_denied", state="x"))


def test_while_the_issuer_is_away_nobody_is_sent_there(ann: Person) -> None:
    ann.issuer.status = 500

    page = ann.browser.get(BEGIN, next="/ui/sessions")

    assert page.status == 503 and page.answer.headers["retry-after"] == "10" and ann.issuer.url in why(page)
    assert page.one(".sign-in input[name=next]")["value"] == "/ui/sessions" and ann.begun == ""


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("address", [None, "", 7, "http://login.example.org/x", "javascript:alert(1)", "file:///etc/x"])
def test_an_issuer_whose_addresses_are_not_safe_is_as_good_as_away(ann: Person, name: str, address: Any) -> None:
    ann.issuer.described[name] = address

    page = ann.browser.get(BEGIN)
    if page.status == 303:
        page = ann.come_back(ann.issuer.authorize(page.goes_to))

    assert page.status == 503 and name in why(page)


ANSWERS = {
    "broken": (500, {"error": "server_error"}),
    "busy": (429, {}),
    "redirect": (302, {"id_token": "x"}),
    "html": (200, b"<html>"),
    "a list": (200, [1]),
    "nested": (200, b"[" * 100_000),
    "no token": (200, {"access_token": "x"}),
    "no text": (200, {"id_token": 7}),
    "large": (200, b'{"id_token": "' + b"x" * issuer_http.MOST_BYTES + b'"}'),
    "not us": (401, {"error": "invalid_client"}),
    "not us at all": (400, {"error": "unauthorized_client"}),
    "silent": (401, b""),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_issuer_that_gives_no_token_is_nobodys_failed_login(enter: Enter, rows: Rows, answer: str) -> None:
    ann = enter(LLM_PROXY_LOGIN_FAILURES="1", LLM_PROXY_OIDC_CLIENT_SECRET="the-secret-of-the-client")
    ann.issuer.token_answer = ANSWERS[answer]

    with capture_logs() as logged:
        pages = [ann.sign_in() for _ in range(2)]

    assert [page.status for page in pages] == [503, 503] and rows.all(UiSession) == []
    assert {page.answer.headers["retry-after"] for page in pages} == {"10"}
    assert "elsewhere" not in ann.issuer.asked and len(logged) == 2
    sent = [call.form["code"] for call in ann.issuer.exchanged] + ["the-secret-of-the-client"]
    assert not [secret for secret in sent if secret in str(logged)]


@pytest.mark.parametrize("answer", [(400, {"error": "invalid_grant"}), (400, {"error": "<b>"}), (403, b"")], ids=str)
def test_a_code_that_the_issuer_does_not_take_is_a_failed_login(enter: Enter, answer: Any) -> None:
    ann = enter(LLM_PROXY_LOGIN_FAILURES="1")
    ann.issuer.token_answer = answer

    assert [ann.sign_in().status for _ in range(2)] == [401, 429]


def test_an_issuer_that_comes_back_lets_people_in_again(ann: Person) -> None:
    ann.issuer.status = 500
    ann.browser.get(BEGIN)
    ann.issuer.status = 200

    assert ann.browser.get(BEGIN).status == 503 and PAUSE_SECONDS < 60


# Haste


def test_failed_sign_ins_count_as_wrong_tokens_do(enter: Enter) -> None:
    ann = enter(LLM_PROXY_LOGIN_FAILURES="3")
    assert ann.sign_in().status == 303
    for _ in range(3):
        somebody = ann.other()
        assert somebody.come_back(somebody.issuer.authorize(somebody.leave()), state="x").status == 401

    somebody = ann.other()
    page = somebody.sign_in()
    assert page.status == 429 and 1 <= int(page.answer.headers["retry-after"]) <= 60 and "Try again in" in why(page)
    assert somebody.browser.sign_in(MANAGEMENT_TOKEN).status == 429


def test_who_has_begun_nothing_has_not_failed(enter: Enter) -> None:
    """Or any page could lock its visitors out."""
    ann = enter(LLM_PROXY_LOGIN_FAILURES="1")

    for _ in range(3):
        assert ann.browser.get(CALLBACK, code="x", state="y").status == 400
        assert ann.come_back(ann.issuer.authorize(ann.leave()), code=None, error="access_denied").status == 400

    assert ann.sign_in().status == 303


@pytest.mark.parametrize("path", [BEGIN, CALLBACK])
def test_both_ways_are_counted_as_requests(enter: Enter, path: str) -> None:
    browser = enter(LLM_PROXY_API_RATE="3 per hour").browser

    assert [browser.get(path).status for _ in range(4)][-1] == 429


# Fixation, and where to go


def test_a_session_that_the_browser_brought_along_is_not_taken(ann: Person) -> None:
    eve = ann.other()
    eve.sign_in()
    planted = kept(eve.browser, SESSION)
    ann.browser.client.set_cookie(SESSION, planted, path="/ui")
    eve.browser.post("/ui/sign-out")

    ann.sign_in()

    assert kept(ann.browser, SESSION) not in ("", planted) and ann.is_signed_in and not eve.is_signed_in


def test_what_pages_left_before_is_gone_after(ann: Person) -> None:
    before = ann.browser.csrf("/ui/sign-in")
    page_cookie = kept(ann.browser, cookies.PAGES)
    ann.sign_in()

    assert kept(ann.browser, cookies.PAGES) != page_cookie
    assert ann.browser.open("POST", "/ui/sign-out", data={"csrf_token": before}).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/ui/",
        "//example.org",
        "/\\example.org",
        "/ui/../manage",
        BEGIN,
        CALLBACK,
        "/ui/\r\nx: y",
        "",
    ],
    ids=ascii,
)
def test_nobody_is_led_elsewhere(ann: Person, path: str) -> None:
    assert ann.sign_in(path).goes_to == "/ui/"
    assert ann.leave(path) == "/ui/"


def test_what_comes_back_does_not_say_where_to_go(ann: Person) -> None:
    link = ann.issuer.authorize(ann.leave("/ui/sessions"))

    assert ann.come_back(link, next="https://example.org", redirect_uri="https://example.org").goes_to == "/ui/sessions"


# How long


def test_a_session_ends_after_eight_hours_however_much_it_is_used(enter: Enter) -> None:
    ann = enter(LLM_PROXY_UI_IDLE="P1D")
    start = datetime.now(UTC)
    ann.sign_in()

    for hours, is_there in ((4, True), (7.9, True), (8.1, False)):
        with time_machine.travel(start + timedelta(hours=hours), tick=False):
            assert ann.is_signed_in is is_there


def test_it_ends_when_it_is_not_used_like_any_other(enter: Enter) -> None:
    ann = enter(LLM_PROXY_UI_IDLE="PT15M")
    start = datetime.now(UTC)
    ann.sign_in()

    for minutes, is_there in ((10, True), (20, True), (36, False)):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=False):
            assert ann.is_signed_in is is_there


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({"LLM_PROXY_API_RATE": "9999 per second"}, True),
        ({"LLM_PROXY_OIDC_NAME": "another"}, True),
        ({"LLM_PROXY_OIDC_ISSUER": None, "LLM_PROXY_OIDC_CLIENT_ID": None}, False),
        ({"LLM_PROXY_OIDC_CLIENT_ID": None}, False),
        ({"LLM_PROXY_OIDC_CLIENT_ID": "another"}, False),
        ({"LLM_PROXY_OIDC_ISSUER": "https://login.example.org"}, False),
        ({"LLM_PROXY_OIDC_ROLES": "ops=auditor, security=auditor"}, False),
        ({"LLM_PROXY_OIDC_ROLE_CLAIM": "groups"}, False),
    ],
    ids=str,
)
def test_it_lasts_while_the_settings_about_people_do(enter: Enter, change: dict[str, Any], stays: bool) -> None:
    before, after = enter(), enter(**change)
    before.sign_in()

    after.browser.client.set_cookie(SESSION, kept(before.browser, SESSION), path="/ui")

    assert after.is_signed_in is stays


def test_one_sees_and_ends_ones_own_sessions_alone(ann: Person) -> None:
    first, second, bob = ann, ann.other(), ann.other()
    first.sign_in(), second.sign_in()
    bob.issuer.id_token = lambda claims: bob.issuer.token(KEY, **claims | {"sub": "bob"})
    bob.sign_in()

    assert len(first.browser.get("/ui/sessions").all("tbody tr")) == 2
    first.browser.post("/ui/sessions/end-others")

    assert [each.is_signed_in for each in (first, second, bob)] == [True, False, True]


def test_who_signs_out_is_out_here(ann: Person) -> None:
    ann.sign_in()
    secret = kept(ann.browser, SESSION)
    ann.browser.post("/ui/sign-out")

    ann.browser.client.set_cookie(SESSION, secret, path="/ui")
    assert not ann.is_signed_in


# Beside tokens


def test_a_persons_token_for_the_api_does_not_open_the_ui(ann: Person) -> None:
    page = ann.browser.sign_in(ann.issuer.token(KEY))

    assert page.status == 403 and "Sign in with single sign-on instead." in why(page)


def test_an_id_token_is_none_for_the_api(ann: Person) -> None:
    given: list[str] = []

    def remember(claims: dict[str, Any]) -> str:
        given.append(ann.issuer.token(KEY, **claims))
        return given[-1]

    ann.issuer.id_token = remember
    assert ann.sign_in().status == 303

    answer = ann.browser.client.get("/manage/me", headers={"authorization": f"Bearer {given[0]}"})
    assert answer.status_code == 401


def test_tokens_open_the_ui_as_before(ann: Person) -> None:
    assert ann.browser.sign_in(MANAGEMENT_TOKEN).goes_to == "/ui/" and ann.is_signed_in


def test_nothing_that_is_kept_or_shown_is_a_secret(enter: Enter, redis_client: redis.Redis) -> None:
    ann = enter(LLM_PROXY_OIDC_CLIENT_SECRET="the-secret-of-the-client")
    ann.issuer.client(CLIENT, HERE + CALLBACK, secret="the-secret-of-the-client")
    with capture_logs() as logged:
        begun, done = ann.browser.get(BEGIN), ann.sign_in()
        failed = ann.come_back(ann.issuer.authorize(ann.other().leave()), code="another-code")

    [call] = ann.issuer.exchanged
    secrets = ["the-secret-of-the-client", call.form["code_verifier"], call.form["code"], "opaque"]
    shown = str(logged) + "".join(f"{page.text}{page.answer.headers}" for page in (begun, done, failed))
    shown += ann.api().get("audit").text + str(redis_client.keys())
    assert not [secret for secret in secrets if secret in shown]
