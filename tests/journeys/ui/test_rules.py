"""An operator makes a rule, tries it on what was recorded, and sees it in force."""

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Installation
from tests.journeys.ui.conftest import DESK, PHONE, OpenPage, Portrait, flaws

LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}


@pytest.mark.parametrize("look", LOOKS)
def test_a_rule_is_tried_made_moved_and_deleted(
    product: Installation, open_page: OpenPage, portrait: Portrait, look: str
) -> None:
    token = product.token(product.project(f"of rules, {look}"))
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)
    page.goto("/ui/rules/new")
    page.get_by_label("Name").fill(f"no salaries, {look}")
    page.get_by_label("Filter").fill("~bq (")
    page.get_by_label("What becomes of a request").select_option("deny")
    page.get_by_label("Project").fill(f"of rules, {look}")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.locator("#field-filter-error")).to_contain_text("At character 5")
    page.get_by_label("Filter").fill("~bq salary")
    page.get_by_role("button", name="Try the filter").click()
    expect(page.get_by_role("status").first).to_contain_text("recorded requests")
    assert flaws(page) == []
    portrait(page, f"rule-{look}")

    page.get_by_role("button", name="Add the rule").click()

    expect(page.locator("[data-toasts]")).to_contain_text("is in force")
    row = page.locator("tbody tr").filter(has_text=f"no salaries, {look}")
    expect(row).to_contain_text("Deny it")
    assert flaws(page) == []
    portrait(page, f"rules-{look}")
    body = {"model": "m", "messages": [{"role": "user", "content": "my salary"}]}
    answer = product.send(token.secret, "POST", "/v1/chat/completions", json=body)
    assert answer.json()["error"]["code"] == "request_denied"
    row.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-toasts]")).to_contain_text("is deleted")
