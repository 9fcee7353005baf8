"""Rules of who may look: the manager says so, guessing is slow, and nothing secret stands in an address or a log."""

import pytest
from tornado.websocket import WebSocketClientConnection

from addons.inspection import sign_in
from addons.inspection.guard import COOKIE
from addons.inspection.manager_line import Visitor, manager_url
from addons.inspection.sign_in import Confirming, Session, Sessions
from shared import settings, tokens
from shared.settings import Plane
from tests.addons.inspection.conftest import HASH, PASSWORD, Page, Start
from tests.addons.inspection.fake_manager import AUDITOR, OPERATOR, PARTIAL, FakeManager

WRONG = "wrong-0123456789-abcdefghijklmnopqrs"


async def test_an_operators_token_opens_the_page(page: Page, manager: FakeManager) -> None:
    form = await page.get("/")
    answer = await page.sign_in(OPERATOR)
    index = await page.get("/")

    assert form.code == 200 and b"An operator's token" in form.body and b"password for looking" not in form.body
    assert (answer.code, answer.headers["Location"]) == (303, "./") and b'id="mitmproxy"' in index.body
    cookie = next(each for each in answer.headers.get_list("Set-Cookie") if each.startswith(COOKIE))
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie and OPERATOR not in cookie
    assert manager.asked == [(OPERATOR, "/manage/inspector/sessions", {})]


async def test_behind_tls_the_cookie_is_for_tls_alone(start: Start) -> None:
    page = await start(LLM_PROXY_INSPECTOR_URL="https://mitmweb.example.org")

    answer = await page.sign_in()

    assert all("Secure" in cookie for cookie in answer.headers.get_list("Set-Cookie"))


@pytest.mark.parametrize(
    ("secret", "status", "text"),
    [
        (WRONG, 403, "This is no token."),
        ("short", 403, "neither an operator"),
        ("", 403, "neither an operator"),
        (f"{tokens.OPERATOR_PREFIX}{'0' * 39}", 403, "neither an operator"),
        (f"{OPERATOR} x", 403, "neither an operator"),
        ("x" * 9000, 403, "neither an operator"),
        (PARTIAL, 403, "all projects"),
    ],
    ids=["unknown", "short", "none", "mistyped", "two words", "long", "some projects"],
)
async def test_others_are_told_why_they_are_not_let_in(page: Page, secret: str, status: int, text: str) -> None:
    answer = await page.sign_in(secret)

    assert answer.code == status and text in answer.body.decode() and COOKIE not in page.cookies
    assert (await page.get("/flows")).code == 403


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        ((500, {}), 502, "does not answer"),
        ((302, {}), 502, "does not answer"),
        ((429, {"detail": "Too many."}), 429, "Too many."),
        ((403, {"detail": "Not you."}), 403, "Not you."),
        ((404, {}), 404, "says 404"),
        ((200, {}), 403, "all projects"),
    ],
    ids=["broken", "elsewhere", "many", "forbidden", "unknown", "strange"],
)
async def test_what_the_manager_says_is_passed_on(
    page: Page, manager: FakeManager, given: "tuple[int, dict[str, str]]", status: int, text: str
) -> None:
    manager.answers["/sessions"] = given

    answer = await page.sign_in()

    assert answer.code == status and text in answer.body.decode()


async def test_a_manager_that_is_away_lets_nobody_in(start: Start, manager: FakeManager) -> None:
    page = await start(LLM_PROXY_MANAGER_URL="http://127.0.0.1:1")

    answer = await page.sign_in()

    assert answer.code == 502 and "does not answer" in answer.body.decode()


# The password


async def test_the_password_lets_look_and_no_more(start: Start, manager: FakeManager) -> None:
    page = await start(LLM_PROXY_INSPECTOR_PASSWORD=HASH)

    refused = await page.sign_in("not the password")
    answer = await page.sign_in(PASSWORD)

    assert refused.code == 403 and answer.code == 303 and await page.flows() == [] and not manager.asked
    assert b"or the password for looking only" in refused.body
    assert (await page.do("POST", "/flows/1/kill")).code == 404


async def test_a_token_is_as_good_where_there_is_a_password(start: Start) -> None:
    page = await start(LLM_PROXY_INSPECTOR_PASSWORD=HASH)

    assert (await page.sign_in(OPERATOR)).code == 303


# Guessing


async def test_who_guesses_has_to_wait_even_if_the_next_guess_is_right(page: Page, manager: FakeManager) -> None:
    codes = [(await page.sign_in(WRONG)).code for _ in range(5)]

    answer = await page.sign_in(OPERATOR)

    assert codes == [403] * 5 and answer.code == 429 and int(answer.headers["Retry-After"]) > 50
    assert manager.opened() == 5
    assert (await page.get("/flows", Authorization=f"Bearer {OPERATOR}")).code == 429


async def test_the_password_is_not_guessed_while_the_manager_is_away(start: Start) -> None:
    page = await start(LLM_PROXY_INSPECTOR_PASSWORD=HASH, LLM_PROXY_MANAGER_URL="http://127.0.0.1:1")

    codes = [(await page.sign_in(f"a-guess-of-the-password-number-{number}")).code for number in range(6)]

    assert codes == [502] * 5 + [429]


async def test_who_is_right_may_come_as_often_as_they_like(page: Page) -> None:
    assert [(await page.sign_in()).code for _ in range(8)] == [303] * 8


# Addresses and scripts


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_in_an_address_is_worth_nothing(page: Page, manager: FakeManager, method: str) -> None:
    await page.get("/")

    for path in ("/", "/flows", "/state"):
        answer = await page.send(method, f"{path}?token={OPERATOR}", b"" if method == "POST" else None)
        assert COOKIE not in page.cookies and b'id="mitmproxy"' not in answer.body
    assert not [asked for asked in manager.asked if asked[0] == OPERATOR]


async def test_a_script_shows_its_token_each_time_and_is_asked_about_once(page: Page, manager: FakeManager) -> None:
    for _ in range(3):
        assert await page.json("/flows", Authorization=f"Bearer {OPERATOR}") == []

    assert manager.opened() == 1 and COOKIE not in page.cookies
    assert (await page.get("/flows", Authorization=f"Bearer {WRONG}")).code == 401
    assert (await page.get("/flows", Authorization=f"Basic {OPERATOR}")).code == 403
    assert (await page.send("POST", "/flows/1/kill", b"", Authorization=f"Bearer {OPERATOR}")).code == 404


async def test_a_form_of_another_site_signs_nobody_in(page: Page, manager: FakeManager) -> None:
    answer = await page.send("POST", "/", f"token={OPERATOR}".encode())

    assert answer.code == 403 and COOKIE not in page.cookies and not manager.asked


async def test_no_secret_is_logged(
    page: Page, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await page.get(f"/?token={OPERATOR}")
    await page.sign_in(WRONG)
    await page.sign_in(OPERATOR)
    await page.get("/flows", Authorization=f"Bearer {AUDITOR}")

    said = caplog.text + "".join(capsys.readouterr())
    assert "inspector_access" in said and "ada" in said and "inspector_access_denied" in said and "127.0.0.1" in said
    assert not [secret for secret in (OPERATOR, WRONG, AUDITOR, page.cookies[COOKIE].value) if secret in said]
    assert OPERATOR not in repr(list(page.master.sessions))


# The end


async def closed(socket: WebSocketClientConnection) -> tuple[int | None, str | None]:
    while await socket.read_message() is not None:
        pass
    socket.close()
    return socket.close_code, socket.close_reason


async def test_a_session_ends_when_the_manager_no_longer_knows_its_token(page: Page, manager: FakeManager) -> None:
    await page.sign_in(OPERATOR)
    socket = await page.watch()
    del manager.people[OPERATOR]

    await Confirming(page.master._line, page.master.sessions).confirm_all()

    assert await closed(socket) == (1008, "The session has ended.") and (await page.get("/flows")).code == 403


async def test_a_session_ends_when_somebody_may_no_longer_see_all(page: Page, manager: FakeManager) -> None:
    await page.sign_in(OPERATOR)
    manager.people[OPERATOR]["sees_everything"] = False

    await Confirming(page.master._line, page.master.sessions).confirm_all()

    assert (await page.get("/flows")).code == 403


async def test_a_session_goes_on_while_the_manager_is_away_or_content(page: Page, manager: FakeManager) -> None:
    await page.sign_in(OPERATOR)
    confirming = Confirming(page.master._line, page.master.sessions)

    await confirming.confirm_all()
    manager.answers["/me"] = (503, {})
    await confirming.confirm_all()

    assert await page.flows() == []


async def test_who_signs_out_is_out(page: Page) -> None:
    await page.sign_in(OPERATOR)
    shown = page.cookies[COOKIE].value
    socket = await page.watch()

    answer = await page.get("/sign-out")

    assert answer.code == 303 and await closed(socket) == (1008, "The session has ended.")
    assert (await page.get("/flows", Cookie=f"{COOKIE}={shown}")).code == 403


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_after_half_a_day() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    over: list[bool] = []
    session = sessions.begin("shown", Visitor("ada", True, OPERATOR), "10.0.0.1")
    session.ending.append(lambda: over.append(True))

    clock.now = sign_in.SESSION_SECONDS - 1
    before = sessions.find("shown")
    clock.now += 1

    assert before is session and sessions.find("shown") is None and over == [True] and list(sessions) == []
    assert sessions.find("another") is None and "shown" not in repr(session)


def test_the_oldest_session_goes_when_there_are_too_many() -> None:
    sessions = Sessions(Clock())
    visitor = Visitor("ada", True, OPERATOR)

    made: list[Session] = [sessions.begin(str(number), visitor, "") for number in range(sign_in.MOST_SESSIONS + 1)]

    assert sessions.find("0") is None and sessions.find("1") is made[1]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"LLM_PROXY_LISTEN_HOST": "0.0.0.0"}, "http://127.0.0.1:8000"),
        ({"LLM_PROXY_LISTEN_HOST": "::"}, "http://[::1]:8000"),
        ({"LLM_PROXY_LISTEN_HOST": "fd00::7", "LLM_PROXY_MANAGER_PORT": "9000"}, "http://[fd00::7]:9000"),
        ({"LLM_PROXY_LISTEN_HOST": "10.1.2.3"}, "http://10.1.2.3:8000"),
        ({"LLM_PROXY_LISTEN_HOST": "localhost"}, "http://localhost:8000"),
        ({"LLM_PROXY_MANAGER_URL": "https://llm.example.org"}, "https://llm.example.org"),
    ],
    ids=["default", "any", "any 6", "6", "4", "name", "public"],
)
def test_the_manager_is_where_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, variables: "dict[str, str]", url: str
) -> None:
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert manager_url(settings.load(Plane.INSPECTOR)) == url
