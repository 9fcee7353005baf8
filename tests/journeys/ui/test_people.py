"""A person signs in at an issuer, which is another site, and comes back to where they wanted to go."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Installation, installed
from tests.journeys.ui.conftest import DESK, PHONE, Complaints, Portrait, flaws
from tests.manager.issuer import Issuer, Key, serving


@dataclass
class House:
    """An installation that trusts an issuer, as a browser reaches it."""

    product: Installation
    issuer: Issuer
    host: str


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with serving(Key("rsa-1")) as issuer:
        variables = {"ISSUER": issuer.url, "CLIENT_ID": "admin-ui", "ROLES": "ops=operator", "NAME": "Example Login"}
        settings = {f"LLM_PROXY_OIDC_{name}": value for name, value in variables.items()}
        with installed(workers=1, **settings) as product:
            # To browsers 127.0.0.1, where the issuer is, and this are two sites.
            host = f"localhost:{product.settings.manager_port}"
            issuer.has_page = True
            issuer.client("admin-ui", f"http://{host}/ui/sign-in/oidc/callback")
            yield House(product, issuer, host)


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def ann(house: House, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    complaints = Complaints(house.host)
    context = browser.new_context(viewport=request.param, base_url=f"http://{house.host}", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints.listen(page)
    yield page
    context.close()
    assert [each for each in complaints.found if f": {house.issuer.url}/" not in each] == []


def test_a_person_signs_in_and_gets_where_they_wanted_to(house: House, ann: Page, portrait: Portrait) -> None:
    ann.goto("/ui/sessions?from=a-mail")
    assert flaws(ann) == []
    portrait(ann, f"sign-in-people-{ann.viewport_size['width']}")  # type: ignore[index]

    ann.get_by_role("link", name="Sign in with Example Login").click()
    expect(ann).to_have_url(re.compile(rf"^{re.escape(house.issuer.url)}/authorize\?"))
    ann.get_by_role("link", name="Let me in").click()

    expect(ann).to_have_url(f"http://{house.host}/ui/sessions?from=a-mail")
    expect(ann.get_by_role("heading", name="Your sessions")).to_be_visible()
    assert "oidc:ann" in str(ann.locator(".whoami").text_content())
    ann.reload()
    expect(ann.get_by_role("heading", name="Your sessions")).to_be_visible()


def test_a_link_that_was_used_is_nobody_elses_way_in(house: House, ann: Page, portrait: Portrait) -> None:
    ann.goto("/ui/sign-in")
    ann.get_by_role("link", name="Sign in with Example Login").click()
    link = str(ann.get_by_role("link", name="Let me in").get_attribute("href"))
    ann.goto(link)
    expect(ann.locator(".whoami")).to_contain_text("oidc:ann")
    ann.goto(link)
    expect(ann.locator(".whoami")).to_contain_text("oidc:ann")

    ann.context.clear_cookies()
    ann.goto(link)

    expect(ann.get_by_role("alert")).to_contain_text("Please begin again.")
    assert flaws(ann) == []
    portrait(ann, f"sign-in-people-again-{ann.viewport_size['width']}")  # type: ignore[index]
    assert link not in house.product.logs() and "code-" not in house.product.logs()
