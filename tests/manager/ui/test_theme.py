"""Rules of themes: known before anything is painted, kept, and nobody is led elsewhere by choosing one."""

import pytest

from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database


@pytest.mark.parametrize(
    ("chosen", "theme", "shown"),
    [("dark", "dark", "dark"), ("light", "light", "light"), ("auto", "auto", "light"), ("nonsense", "auto", "light")],
)
@pytest.mark.parametrize("role", [None, "auditor"])
def test_a_theme_is_kept(browse: Browse, role: str | None, chosen: str, theme: str, shown: str) -> None:
    browser = browse(role)
    page = browser.get("/ui/sign-in" if role is None else "/ui/sessions")

    back = browser.submit(page, "form.themes", theme=chosen)

    assert back.goes_to == page.path
    html = browser.follow(back).one("html")
    assert (html["data-theme"], html["data-bs-theme"]) == (theme, shown)
    [pressed] = browser.get(page.path).all("form.themes [aria-pressed=true]")
    assert pressed["value"] == theme


@pytest.mark.parametrize("back", ["https://example.org", "//example.org", "/manage/docs", ""])
def test_choosing_one_leads_nobody_elsewhere(browse: Browse, back: str) -> None:
    assert browse("auditor").submit("/ui/sessions", "form.themes", theme="dark", next=back).goes_to == "/ui/"


def test_a_cookie_that_is_none_of_ours_changes_nothing(browse: Browse) -> None:
    browser = browse(None)
    browser.client.set_cookie("llm_proxy_theme", '"><script>', path="/ui")

    assert browser.get("/ui/sign-in").one("html")["data-theme"] == "auto"
