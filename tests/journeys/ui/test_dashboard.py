"""What an operator opens in the morning: figures of what really went through the proxy, as it goes through."""

import re

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from manager.ui.streams import MOST, MOST_EACH
from tests.journeys.conftest import Installation, Token, until
from tests.journeys.ui.conftest import DESK, PHONE, Complaints, OpenPage, Portrait, flaws

ASK = [{"role": "user", "content": "Say hello."}]
LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}


@pytest.fixture
def token(product: Installation, request: pytest.FixtureRequest) -> Token:
    return product.token(product.project(request.node.name), label="nightly", max_requests=1000)


def ask(product: Installation, token: Token, times: int = 1) -> None:
    """Let an application ask something that the provider answers."""
    for _ in range(times):
        product.client(token).chat.completions.create(model="gpt-4o-mini", messages=ASK)  # type: ignore[call-overload]


def of_project(product: Installation, token: Token) -> str:
    """The dashboard of a token's project."""
    return f"/ui/dashboard?project={token.project_id}"


def figure(page: Page, name: str) -> str:
    """What stands in large letters."""
    return page.locator("#numbers .card", has=page.get_by_text(name, exact=True)).locator("dd").inner_text()


def turn(page: Page, visibility: str) -> None:
    """Hide a page, or show it again, as another tab does."""
    page.evaluate(
        "now => { Object.defineProperty(document, 'visibilityState', {get: () => now, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange')) }",
        visibility,
    )


def test_a_request_appears_without_anybody_loading_the_page(product: Installation, page: Page, token: Token) -> None:
    page.goto(of_project(product, token))
    expect(page.locator("[data-live-text]")).to_have_text("Live")
    assert figure(page, "Requests") == "0"

    ask(product, token, 3)

    expect(page.locator("#numbers .card").first).to_contain_text("3")
    expect(page.locator("#requests tbody tr").first).to_be_attached()
    expect(page.locator("figure:has(#requests) svg[role=img] .chart-pile")).to_have_attribute("d", re.compile("^M"))
    expect(page.locator("#tops")).to_contain_text("nightly", timeout=15_000)
    keys = page.locator("figure:has(#tokens) .chart-keys")
    keys.press("End")
    assert re.search(r"prompt: \d", page.locator("figure:has(#tokens) [aria-live]").text_content() or "")


def test_what_is_in_flight_is_counted(product: Installation, page: Page, token: Token) -> None:
    page.goto(of_project(product, token))
    with product.client(token).chat.completions.create(
        model="gpt-4o-mini",
        messages=ASK,  # type: ignore[arg-type]
        stream=True,
        extra_headers={"x-mock-behaviour": '{"chunks": 100000, "chunk_interval_ms": 20}'},
    ):
        expect(page.locator("#numbers .card").last).to_contain_text("1")
    expect(page.locator("#numbers .card").last).to_contain_text("0")


def test_a_page_that_is_paused_changes_no_more_until_it_goes_on(
    product: Installation, page: Page, token: Token
) -> None:
    page.goto(of_project(product, token))
    button = page.locator("[data-live]")
    expect(button).to_have_text("Live")

    button.click()
    expect(button).to_have_text("Paused")
    ask(product, token)
    product.usage_of(token, 1)
    assert figure(page, "Requests") == "0"

    button.click()
    expect(page.locator("#numbers .card").first).to_contain_text("1")


def test_a_hidden_page_asks_for_nothing(page: Page) -> None:
    page.goto("/ui/dashboard")
    expect(page.locator("[data-live]")).to_have_text("Live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    turn(page, "hidden")
    page.wait_for_timeout(1500)

    assert asked == []


def test_where_no_stream_is_to_be_had_the_page_is_asked_for_from_time_to_time(
    product: Installation, page: Page, token: Token
) -> None:
    page.route("**/ui/events*", lambda route: route.fulfill(status=204))
    page.goto(of_project(product, token))
    expect(page.locator("[data-live]")).to_have_text(re.compile(r"Every \d+ s"))

    ask(product, token)

    expect(page.locator("#numbers .card").first).to_contain_text("1", timeout=30_000)
    expect(page.locator("#requests tbody tr")).to_have_count(1)


def test_the_end_of_the_session_is_seen_without_a_click(page: Page) -> None:
    page.goto("/ui/dashboard")
    expect(page.locator("[data-live]")).to_have_text("Live")
    form = {"csrf_token": page.locator("meta[name=csrf-token]").get_attribute("content") or ""}

    page.request.post("/ui/sign-out", form=form)

    expect(page.get_by_label("Token", exact=True)).to_be_visible()


def test_a_page_shown_again_after_the_end_of_the_session_leads_to_the_sign_in_page(
    page: Page, complaints: Complaints
) -> None:
    page.goto("/ui/dashboard")
    expect(page.locator("[data-live]")).to_have_text("Live")
    form = {"csrf_token": page.locator("meta[name=csrf-token]").get_attribute("content") or ""}
    turn(page, "hidden")
    page.request.post("/ui/sign-out", form=form)

    turn(page, "visible")

    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert all(each.startswith("401 for ") for each in complaints.found)
    complaints.found.clear()


def test_a_page_that_is_hidden_and_shown_while_it_asks_begins_one_stream(page: Page) -> None:
    begun: list[str] = []
    held: list[Route] = []

    def begin(route: Route) -> None:
        begun.append(route.request.url)
        if len(begun) == 1:
            route.fulfill(status=204)

    page.route("**/ui/events*", begin)
    page.goto("/ui/dashboard")
    page.route("**/ui/dashboard", lambda route: held.append(route))
    expect(page.locator("[data-live]")).to_have_text(re.compile(r"Every \d+ s"))
    with page.expect_request("**/ui/dashboard"):
        pass

    turn(page, "hidden")
    turn(page, "visible")
    page.wait_for_timeout(300)
    for each in held:
        each.continue_()
    page.wait_for_timeout(1500)

    assert (len(held), len(begun)) == (1, 2)


def test_times_that_are_told_anew_go_on(page: Page) -> None:
    page.clock.install()
    page.goto("/ui/sessions")
    page.evaluate(
        "() => { const time = document.createElement('time'); time.id = 'told'; time.dataset.time = 'relative';"
        "time.dateTime = new Date().toISOString(); document.querySelector('main').append(time) }"
    )

    page.clock.fast_forward("01:00:00")

    expect(page.locator("#told")).to_have_text("1 hour ago")


def test_the_api_answers_while_as_many_watch_as_may(product: Installation, open_page: OpenPage) -> None:
    sessions = [open_page().context.cookies() for _ in range(MOST // MOST_EACH + 1)]
    url, streams = f"{product.manager_url}/ui/events?page=dashboard", []

    def watch(number: int = 0) -> requests.Response:
        cookies = {each["name"]: each["value"] for each in sessions[number]}  # type: ignore[typeddict-item]
        return requests.get(url, cookies=cookies, stream=True, timeout=30)

    try:
        for number in range(len(sessions)):
            while (answer := watch(number)).status_code == 200:
                assert next(answer.iter_lines())
                streams.append(answer)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        # Those of pages that have just been closed may not have noticed yet.
        assert MOST // 2 < len(streams) <= MOST

        for _ in range(20):
            product.manage("GET", "/manage/projects")
    finally:
        for each in streams:
            each.close()

    def is_free() -> bool:
        with watch() as answer:
            return answer.status_code == 200

    until(is_free, 30)


@pytest.mark.parametrize("look", LOOKS)
def test_every_range_can_be_seen(
    product: Installation, open_page: OpenPage, portrait: Portrait, token: Token, look: str
) -> None:
    theme, size = LOOKS[look]
    ask(product, token, 5)
    product.usage_of(token, 5)
    page = open_page(theme=theme, size=size)
    page.goto("/ui/dashboard")

    for name in ("Day", "Week", "Month", "Hour"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator(".ranges [aria-current]")).to_have_text(name)
        expect(page.locator(".chart-svg")).to_have_count(4)
        assert (name, flaws(page)) == (name, [])
        portrait(page, f"dashboard-{name.lower()}-{look}")


def test_without_scripts_the_tables_are_there(open_page: OpenPage, product: Installation, token: Token) -> None:
    ask(product, token)
    product.usage_of(token, 1)
    page = open_page(java_script_enabled=False)
    page.goto(of_project(product, token))

    expect(page.locator("#requests")).to_be_visible()
    expect(page.locator("#requests tbody tr")).to_have_count(1)
    expect(page.locator("[data-live]")).to_be_hidden()
    page.get_by_label("Project").fill("nobody")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("There is no project nobody that you may see.")).to_be_visible()
