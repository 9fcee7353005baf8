"""Rules of all pages, those that the menu leads to and some others: small, quick, for everybody, well-behaved."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.journeys.ui.conftest import (
    DESK,
    PHONE,
    OpenPage,
    Portrait,
    barriers,
    interactive_after,
    overflow,
    transferred,
)

LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE), "dark-phone": ("dark", PHONE)}
# Pages that are not in the menu: forms, details, errors.
BESIDES = ["/ui/sessions", "/ui/nothing"]


def paths(page: Page) -> Iterator[str]:
    """Where the menu leads to, and what else there is."""
    yield from page.locator("nav[aria-label=Main] a").evaluate_all("all => all.map(each => each.pathname)")
    yield from BESIDES


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_well_behaved(open_page: OpenPage, portrait: Portrait, look: str) -> None:
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)

    for path in paths(page):
        page.goto(path)

        assert page.locator("html").get_attribute("data-bs-theme") == theme
        assert (path, overflow(page), barriers(page)) == (path, 0, [])
        portrait(page, f"{path.removeprefix('/ui/')}-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_page_is_well_behaved(open_page: OpenPage, portrait: Portrait, look: str) -> None:
    theme, size = LOOKS[look]
    page = open_page(None, theme=theme, size=size)

    page.goto("/ui/")

    assert page.url.endswith("/ui/sign-in") and (overflow(page), barriers(page)) == (0, [])
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
