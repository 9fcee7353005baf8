"""An operator signs in and out in a browser, on a desk and on a phone, with and without scripts."""

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Installation
from tests.journeys.ui.conftest import PHONE, Complaints, OpenPage


def test_who_signs_in_gets_where_they_wanted_to(product: Installation, open_page: OpenPage) -> None:
    token = product.manage("POST", "/manage/operators", {"name": "ann", "role": "auditor"})["token"]
    page = open_page(None)
    page.goto("/ui/sessions?from=a-mail")
    expect(page).to_have_url(re.compile(r"/ui/sign-in\?next="))

    page.get_by_label("Token", exact=True).fill(token[:-1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Token", exact=True).fill(token)
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/ui/sessions\?from=a-mail$"))
    expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    expect(page.locator(".whoami")).to_contain_text("ann")


def test_the_session_cookie_is_out_of_reach_of_scripts(page: Page) -> None:
    [cookie] = [each for each in page.context.cookies() if each["name"] == "llm_proxy_session"]

    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    assert "llm_proxy_session" not in page.evaluate("document.cookie")


def test_a_proxy_with_tls_on_this_machine_makes_cookies_secure(product: Installation) -> None:
    def cookies(**headers: str) -> str:
        return requests.get(f"{product.manager_url}/ui/sign-in", headers=headers, timeout=10).headers["set-cookie"]

    assert "Secure" in cookies(**{"x-forwarded-proto": "https"}) and "Secure" not in cookies()


def test_signing_out_ends_it_also_for_the_button_back(page: Page) -> None:
    page.goto("/ui/sessions")
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text("You are signed out.")
    page.go_back()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_theme_is_kept_and_there_before_anything_is_painted(page: Page, theme: str) -> None:
    page.goto("/ui/sessions")

    page.get_by_role("button", name=f"{theme.capitalize()} theme").click()

    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", theme)
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", theme)
    assert f'data-bs-theme="{theme}"' in page.request.get("/ui/sessions").text()


def test_the_automatic_theme_follows_the_system(open_page: OpenPage) -> None:
    page = open_page(theme="dark")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")

    page.emulate_media(color_scheme="light")

    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_on_a_phone_the_menu_opens_and_closes(open_page: OpenPage) -> None:
    page = open_page(size=PHONE)
    page.goto("/ui/sessions")
    out = page.get_by_role("button", name="Sign out", exact=True)
    expect(out).not_to_be_in_viewport()

    page.get_by_role("button", name="Menu", exact=True).click()
    expect(page.locator("#side.show")).to_be_in_viewport()
    page.keyboard.press("Escape")

    expect(out).not_to_be_in_viewport()


def test_the_keyboard_skips_the_menu(page: Page) -> None:
    page.goto("/ui/sessions")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_without_scripts_one_gets_everywhere(open_page: OpenPage, size: object) -> None:
    page = open_page(java_script_enabled=False, **({"size": size} if size else {}))
    page.goto("/ui/sessions")

    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(page).to_have_url(re.compile("/ui/sessions$"))
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_an_ended_session_says_so(open_page: OpenPage) -> None:
    page, other = open_page("operator"), open_page(None)
    page.goto("/ui/sessions")
    other.context.add_cookies(page.context.cookies())
    other.goto("/ui/sessions")
    other.get_by_role("button", name="Sign out", exact=True).click()

    page.reload()

    expect(page.get_by_role("status")).to_contain_text("Your session has ended")


def test_what_a_browser_complains_about_is_noticed(page: Page, complaints: Complaints) -> None:
    page.goto("/ui/sessions")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=/ui/assets/x onerror=alert(1)>')")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=color:red>')")
    page.evaluate("fetch('http://127.0.0.1:9/elsewhere').catch(() => 0)")
    page.evaluate("setTimeout(() => { throw new Error('oops') })")
    page.wait_for_timeout(300)

    told = "\n".join(complaints.found)
    complaints.found.clear()
    for part in ("script-src-attr", "style-src-attr", "connect-src", "404 for", "oops"):
        assert part in told, told
