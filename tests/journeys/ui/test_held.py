"""An operator decides about a request that a rule holds, and looks at what is recorded of it."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from tests.journeys.conftest import Installation, Token, until
from tests.journeys.ui.conftest import OpenPage, Portrait, flaws

MAIL = "paula.patient@clinic.example"


@pytest.fixture
def token(product: Installation) -> Token:
    inspection = {"capture": "full", "hidden": ["emails"]}
    return product.token(product.project("kept back", inspection=inspection), label="nightly")


@pytest.fixture
def asked(product: Installation, token: Token) -> Iterator[list[Any]]:
    """The answer to a question that a rule holds, once there is one."""
    rule = {"name": token.id, "project_id": token.project_id, "filter": "~bq transfer", "action": "hold"}
    rule_id = product.manage("POST", "/manage/rules", {**rule, "hold_seconds": 120})["id"]
    answers: list[Any] = []
    body = {"model": "m", "messages": [{"role": "user", "content": f"transfer 900 to {MAIL}"}]}

    def ask() -> None:
        with suppress(requests.RequestException):  # A journey that fails tells why by itself.
            answers.append(product.send(token.secret, "POST", "/v1/chat/completions", json=body))

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers
    thread.join(30)
    product.manage("DELETE", f"/manage/rules/{rule_id}")


def test_a_held_request_is_edited_and_goes_out(
    product: Installation, open_page: OpenPage, portrait: Portrait, token: Token, asked: list[Any]
) -> None:
    until(lambda: product.manage("GET", f"/manage/live?project_id={token.project_id}")["items"])
    page = open_page("operator")
    page.goto(f"/ui/live?project={token.project_id}")
    row = page.locator("#live-table tbody tr")
    expect(row).to_contain_text("held")
    portrait(page, "live-held")
    assert flaws(page) == []
    row.get_by_role("link", name="Decide", exact=True).click()
    body = page.get_by_label("Body")
    assert "transfer 900 to [email 1]" in body.input_value() and MAIL not in body.input_value()
    assert flaws(page) == []
    portrait(page, "held")

    body.fill(body.input_value().replace("transfer 900", "transfer 1"))
    page.get_by_label("Reason").fill("too much")
    page.get_by_role("button", name="Let it go out").click()

    expect(page.locator("[data-toasts]")).to_contain_text("goes out")
    until(lambda: asked)
    assert asked[0].status_code == 200, asked[0].text
    assert f"transfer 1 to {MAIL}" in asked[0].json()["choices"][0]["message"]["content"]
    [row_of_it] = product.usage_of(token, 1)
    page.goto(f"/ui/requests/{row_of_it['request_id']}")
    page.get_by_role("link", name="Show what is recorded").click()
    expect(page.locator("main pre").first).to_contain_text("transfer 1 to [email]")
    assert flaws(page) == []
    portrait(page, "flow")
    events = product.manage("GET", f"/manage/audit?action=request.edit&token_id={token.id}")["items"]
    assert events[0]["detail"]["reason"] == "too much"
