"""Rules of all pages, those that the menu leads to and some others: small, quick, for everybody, well-behaved."""

import pytest
from playwright.sync_api import Page

from tests.journeys.ui.conftest import DESK, PHONE, OpenPage, Portrait, flaws, interactive_after, transferred

LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}
# Pages that are not in the menu: forms, details, errors. Those of projects and tokens have journeys of their own.
BESIDES = ["/ui/sessions", "/ui/me", "/ui/nothing", "/ui/limits/edit", "/ui/prices/new", "/ui/providers/openai"]
BESIDES += ["/ui/audit/verify", "/ui/status/unrecorded"]
# Of what these list, the first one has a page.
LISTS = ["/ui/requests", "/ui/audit"]


def paths(page: Page) -> list[str]:
    """Where the menu leads to, and what else there is."""
    found: list[str] = page.locator("nav[aria-label=Main] a").evaluate_all("all => all.map(each => each.pathname)")
    return [*found, *BESIDES, *map(lambda path: _first_of(page, path), LISTS)]


def _name(path: str) -> str:
    above, _, last = path.removeprefix("/ui/").rpartition("/")
    # Ids are others in each run.
    return (f"{above}-one" if len(last) > 20 else f"{above}-{last}").strip("-").replace("/", "-")


def _first_of(page: Page, path: str) -> str:
    page.goto(path)
    return str(page.locator("tbody tr").first.locator("a").first.evaluate("link => link.pathname"))


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_well_behaved(open_page: OpenPage, portrait: Portrait, look: str) -> None:
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)

    for path in paths(page):
        page.goto(path)

        assert page.locator("html").get_attribute("data-bs-theme") == theme
        assert (path, flaws(page)) == (path, [])
        portrait(page, f"{_name(path)}-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_page_is_well_behaved(open_page: OpenPage, portrait: Portrait, look: str) -> None:
    theme, size = LOOKS[look]
    page = open_page(None, theme=theme, size=size)

    page.goto("/ui/")

    assert page.url.endswith("/ui/sign-in") and flaws(page) == []
    portrait(page, f"sign-in-{look}")


def test_every_page_is_small_and_quick(open_page: OpenPage) -> None:
    first = open_page()
    state = first.context.storage_state()

    for path in paths(first):
        page = open_page(None, storage_state=state)
        page.goto(path, wait_until="load")
        assert transferred(page) < 300_000, path

        page.goto(path, wait_until="load")  # What else this machine has to do is nobody's fault, twice.
        assert interactive_after(page) < 1000, path
