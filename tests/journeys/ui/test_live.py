"""An operator watches what is in flight, and cuts a stream: it ends at once, and the audit knows why."""

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Installation, Token, until
from tests.journeys.test_resilience import Asked
from tests.journeys.ui.conftest import DESK, PHONE, OpenPage, Portrait, flaws

ENDLESS = {"chunks": 100_000, "chunk_interval_ms": 20}
LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}


@pytest.fixture
def token(product: Installation, request: pytest.FixtureRequest) -> Token:
    return product.token(product.project(request.node.name), label="nightly")


@pytest.fixture
def flowing(product: Installation, token: Token) -> Asked:
    """A stream that goes on until it is cut, and that the workers have told of."""
    asked = Asked(product, token, **ENDLESS)
    seen = until(lambda: product.manage("GET", f"/manage/live?project_id={token.project_id}")["items"])
    assert [each["token_id"] for each in seen] == [token.id]
    return asked


def live(token: Token) -> str:
    """The live page of a token's project."""
    return f"/ui/live?project={token.project_id}"


def cut_all(product: Installation, token: Token) -> None:
    for each in product.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]:
        product.manage("POST", f"/manage/live/{each['request_id']}/cut")


def test_a_stream_is_seen_and_cut(product: Installation, page: Page, token: Token, flowing: Asked) -> None:
    page.goto(live(token))
    row = page.locator("#live-table tbody tr")
    expect(row).to_contain_text("nightly")
    expect(row).to_contain_text("streaming")
    expect(page.locator("#live-table thead")).to_contain_text("Token")
    first = int(row.locator("td").nth(4).inner_text().replace(",", ""))
    expect(row.locator("td").nth(4)).not_to_have_text(f"{first:,}")

    row.get_by_role("link", name="Cut", exact=True).click()
    expect(page.get_by_role("heading", name="Cut this request?")).to_be_visible()
    page.get_by_label("Reason").fill("runs in circles")
    page.get_by_role("button", name="Cut this request").click()

    expect(page.locator("[data-toasts]")).to_contain_text("is being cut")
    assert flowing.join().code() == "request_cut"
    page.goto(live(token))
    expect(page.get_by_text("Nothing is in flight")).to_be_visible()
    [event] = product.manage("GET", f"/manage/audit?action=request.cut&token_id={token.id}")["items"]
    assert event["detail"]["reason"] == "runs in circles"


def test_what_begins_and_ends_comes_and_goes_by_itself(product: Installation, page: Page, token: Token) -> None:
    page.goto(live(token))
    expect(page.get_by_text("Nothing is in flight")).to_be_visible()

    flowing = Asked(product, token, **ENDLESS)
    row = page.locator("#live-table tbody tr")
    expect(row).to_have_count(1)
    button = row.get_by_role("link", name="Cut", exact=True)
    button.focus()
    page.wait_for_timeout(4500)
    expect(button).to_be_focused()
    expect(row.locator("[data-age]")).not_to_have_text("0 s")

    cut_all(product, token)
    flowing.join()
    expect(row).to_have_count(0)
    expect(page.get_by_text("Nothing is in flight")).to_be_visible()


def test_it_is_cut_without_scripts(product: Installation, open_page: OpenPage, token: Token, flowing: Asked) -> None:
    page = open_page("operator", java_script_enabled=False)
    page.goto(live(token))

    page.get_by_role("link", name="Cut", exact=True).click()
    page.get_by_role("button", name="Cut this request").click()

    expect(page.locator("[data-toasts]")).to_contain_text("is being cut")
    assert flowing.join().code() == "request_cut"


def test_who_may_only_read_cannot_cut(product: Installation, open_page: OpenPage, token: Token, flowing: Asked) -> None:
    page = open_page("auditor")
    page.goto(live(token))

    expect(page.locator("#live-table tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="Cut", exact=True)).to_have_count(0)
    cut_all(product, token)
    flowing.join()


@pytest.mark.parametrize("look", LOOKS)
def test_it_can_be_seen_everywhere(
    product: Installation, open_page: OpenPage, portrait: Portrait, token: Token, flowing: Asked, look: str
) -> None:
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)

    page.goto("/ui/live")
    expect(page.locator("#live-table tbody")).to_contain_text("streaming")
    expect(page.get_by_role("link", name="Cut", exact=True).first).to_be_in_viewport()
    assert flaws(page) == []
    portrait(page, f"live-{look}")
    page.locator("#live-table").get_by_role("link", name="Cut", exact=True).first.click()
    assert flaws(page) == []
    portrait(page, f"cut-{look}")

    cut_all(product, token)
    flowing.join()
