"""All of it in one go: from signing in over a project, a token, requests and a cut stream to what the audit tells."""

import re

from playwright.sync_api import Page, expect

from tests.journeys.conftest import Installation, Token, until
from tests.journeys.test_resilience import Asked
from tests.journeys.ui.conftest import OpenPage, Portrait

ASK = [{"role": "user", "content": "Say hello."}]
ENDLESS = {"chunks": 100_000, "chunk_interval_ms": 20}


def make_project(page: Page, product: Installation) -> str:
    """Make a project in the browser; returns its id."""
    page.get_by_role("link", name="Projects", exact=True).click()
    page.get_by_role("link", name="New project").first.click()
    page.locator("#field-name").fill("A morning")
    page.locator("#field-api_key").fill(product.provider_key)
    for fold in page.locator("details.fold summary").all():
        fold.click()
    page.locator("#field-base_url").fill(product.mock_url)
    page.locator("main form.form-body button.btn-primary").click()
    expect(page.get_by_role("heading", name="A morning")).to_be_visible()
    return page.url.rsplit("/", 1)[-1]


def make_token(page: Page, project_id: str) -> str:
    """Make a token of a project in the browser; returns its secret."""
    page.goto(f"/ui/tokens/new?project_id={project_id}")
    page.locator("#field-label").fill("first application")
    page.locator("main form.form-body button.btn-primary").click()
    secret = page.locator("[data-secret]").inner_text()
    assert secret.startswith("sk-llmp-") and secret not in page.url
    return secret


def test_a_morning(product: Installation, open_page: OpenPage, portrait: Portrait) -> None:
    page = open_page()
    project_id = make_project(page, product)
    secret = make_token(page, project_id)
    portrait(page, "morning-token")
    page.get_by_role("link", name="Go to the token").click()
    assert secret not in page.content()
    token_page = page.url

    watching = page.context.new_page()
    watching.goto(f"/ui/dashboard?project={project_id}")
    answer = product.client(secret).chat.completions.create(model="gpt-4o-mini", messages=ASK)  # type: ignore[call-overload]
    assert answer.choices[0].message.content
    expect(watching.locator("#numbers .card").first).to_contain_text("1")

    flowing = Asked(product, Token("", secret, project_id), **ENDLESS)
    page.goto(f"/ui/live?project={project_id}")
    page.locator("#live-table tbody tr").get_by_role("link", name="Cut", exact=True).click()
    page.get_by_label("Reason").fill("enough for today")
    page.get_by_role("button", name="Cut this request").click()
    assert flowing.join().code() == "request_cut"

    until(lambda: len(product.manage("GET", f"/manage/requests?project_id={project_id}")["items"]) == 2)
    page.goto(f"/ui/requests?project_id={project_id}")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("request_cut")
    rows.last.get_by_role("link").first.click()
    expect(page.get_by_text("Where the time went")).to_be_visible()

    page.goto(token_page)
    page.get_by_role("link", name=re.compile("^Revoke")).click()
    page.get_by_role("button", name=re.compile("^Revoke")).click()
    expect(page.locator("main")).to_contain_text("revoked")
    assert product.send(secret).status_code == 401

    page.goto(f"/ui/audit?project_id={project_id}")
    told = page.locator("tbody").inner_text()
    for action in ("project.create", "token.create", "request.cut", "token.revoke"):
        assert action in told
    assert secret not in page.content() and product.provider_key not in page.content()
