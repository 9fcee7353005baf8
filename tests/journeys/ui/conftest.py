"""Chromium before a running product, and what it complains about.

    def test_projects_are_listed(page: Page) -> None:
        page.goto("/ui/projects")

`page` is signed in with the management token; `open_page` opens others: of an operator's role, dark, on a phone. A
journey fails if the browser has seen an error on the console, a violation of the content policy, a broken asset, or a
request to anybody else. `portrait(page, "projects")` leaves a picture if pytest is run with `--screenshots FOLDER`.
"""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.journeys.conftest import Installation, installed
from tests.journeys.ui.lived_in import live_in

CHROMIUM = Path(__file__).parents[3] / "scripts" / "chromium"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
_TELL = (
    "addEventListener('securitypolicyviolation', e => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
)
_OF_A_PAGE = "Failed to load resource: the server responded with a status of"
_SERIOUS = ("serious", "critical")
_RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}

type OpenPage = Callable[..., Page]
type Portrait = Callable[[Page, str], None]


@pytest.fixture(scope="session")
def product() -> Iterator[Installation]:
    """One installation for all journeys through the UI, in which something has gone on already."""
    with installed(runner="engine") as running:
        live_in(running)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which is gone when others of this process need the event loop."""
    found = subprocess.run([CHROMIUM], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        yield running
        running.close()


@dataclass
class Complaints:
    """What a browser has complained about."""

    host: str
    found: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"error in a script: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # That a whole page has the status of an error is said as well; what it is made of is looked at below.
        if message.type == "error" and not message.text.startswith(_OF_A_PAGE):
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and urlsplit(request.url).netloc != self.host:
            self.found.append(f"a request to somebody else: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            self.found.append(f"{response.status} for {response.url}")
        if response.status >= 500:
            self.found.append(f"{response.status} for {response.url}")


@pytest.fixture
def complaints(product: Installation) -> Iterator[Complaints]:
    """What browsers complain about in this journey. At its end there must be nothing."""
    gathered = Complaints(urlsplit(product.manager_url).netloc)
    yield gathered
    assert gathered.found == []


@pytest.fixture
def open_page(product: Installation, browser: Browser, complaints: Complaints) -> Iterator[OpenPage]:
    """Opens pages in a browser of their own each: `role` is "management", that of a new operator, or None: nobody."""
    contexts = []
    number = 0

    def open_page(role: str | None = "management", *, theme: str = "light", size: Any = DESK, **options: Any) -> Page:
        nonlocal number
        scheme = {"color_scheme": theme, "viewport": size, "base_url": product.manager_url, "locale": "en-GB"}
        context = browser.new_context(**{**scheme, "timezone_id": "Europe/Zurich", **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.add_init_script(_TELL)
        page = context.new_page()
        page.set_default_timeout(10_000)
        complaints.listen(page)
        if role is not None:
            number += 1
            token = product.session.headers["authorization"].removeprefix("Bearer ")
            if role != "management":
                named = {"name": f"{role} {number} of {id(context)}", "role": role}
                token = product.manage("POST", "/manage/operators", named)["token"]
            sign_in(page, token)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page of the management token."""
    return open_page()


def sign_in(page: Page, token: str) -> None:
    """Sign in as people do."""
    page.goto("/ui/sign-in")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/ui/sign-in" not in url)


@pytest.fixture
def portrait(request: pytest.FixtureRequest) -> Portrait:
    """Takes a picture of a whole page, if somebody wants to look at it."""
    folder: Path | None = request.config.getoption("--screenshots")

    def take(page: Page, name: str) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png", full_page=True)

    return take


def barriers(page: Page) -> list[str]:
    """What axe finds on a page that is serious or critical."""
    found = Axe().run(page, options=_RULES).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in _SERIOUS]


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def flaws(page: Page) -> list[str]:
    """What is wrong with how a page looks: its width, and in a wide window what axe finds, which takes its time."""
    too_wide = [f"{pixels} pixels too wide"] if (pixels := overflow(page)) else []
    is_wide = page.viewport_size is not None and page.viewport_size["width"] > PHONE["width"]
    return [*too_wide, *(barriers(page) if is_wide else [])]


def transferred(page: Page) -> int:
    """How many bytes a page and all that it is made of were on the line."""
    script = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
    return int(page.evaluate(script))


def interactive_after(page: Page) -> float:
    """After how many milliseconds a page could be used."""
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
