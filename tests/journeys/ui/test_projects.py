"""An operator makes a project, looks after its keys, and ends it, in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Installation, until
from tests.journeys.ui.conftest import DESK, PHONE, OpenPage, Portrait, flaws

CANARY = "sk-proj-a-canary-that-nobody-may-see-77"
LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}
LONG = "supercalifragilisticexpialidocious" * 5
RTL = "פרויקט עם שם בעברית 🚀 לבדיקה"


def create(page: Page, product: Installation, name: str) -> None:
    """Make a project that goes to the mock provider."""
    page.goto("/ui/projects")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("First key").fill(product.provider_key)
    page.get_by_text("Where requests go", exact=True).click()
    page.get_by_label("Base URL").fill(product.mock_url)
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_project_is_made_and_serves(page: Page, product: Installation) -> None:
    create(page, product, "made in a browser")

    expect(page.get_by_role("status").filter(has_text="The project was created.")).to_be_visible()
    project_id = page.url.rpartition("/")[2]
    token = product.token(project_id)
    assert product.send(token.secret).status_code == 200
    assert product.provider_key not in page.content()


def test_what_is_wrong_is_said_before_it_is_sent_and_after(page: Page, product: Installation) -> None:
    page.goto("/ui/projects/new")
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_label("Name")).to_be_focused()  # The browser says it itself.

    page.get_by_label("Name").fill("bad origin")
    page.get_by_label("First key").fill(CANARY)
    page.get_by_text("Browsers", exact=True).click()
    page.get_by_label("Web pages that may call").fill("*")
    page.get_by_role("button", name="Create project").click()

    expect(page.get_by_text("is no origin as browsers send it")).to_be_visible()
    expect(page.get_by_label("Web pages that may call")).to_have_value("*")
    expect(page.get_by_label("Name")).to_have_value("bad origin")
    expect(page.get_by_label("First key")).to_have_value("")
    assert CANARY not in page.content() and CANARY not in page.url


def test_keys_are_looked_after(page: Page, product: Installation) -> None:
    create(page, product, "keys in a browser")
    keys = page.locator("#keys")

    keys.get_by_role("button", name="Test").click()
    expect(page.get_by_text("The provider takes this key.")).to_be_visible()
    page.get_by_role("link", name="Back to the project").click()
    keys.get_by_role("link", name=re.compile("^Delete")).click()
    expect(page.get_by_role("heading", name="This key cannot be deleted")).to_be_visible()
    page.get_by_role("link", name="Add another key").click()
    page.get_by_label("Key", exact=True).fill(CANARY)
    page.get_by_label("Label").fill("second account")
    page.get_by_label("Weight").fill("3")
    page.get_by_role("button", name="Add key").click()
    expect(keys.get_by_role("row", name=re.compile("second account"))).to_be_visible()

    keys.get_by_role("link", name="Rotate second account").click()
    page.get_by_label("Key", exact=True).fill(f"{CANARY}-2")
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("status").filter(has_text="The key was rotated")).to_be_visible()
    keys.get_by_role("link", name="Edit second account").click()
    page.get_by_label("Requests go out with it").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(keys.get_by_role("row", name=re.compile("second account.*inactive"))).to_be_visible()
    keys.get_by_role("link", name="Delete second account").click()
    page.get_by_role("button", name="Delete the key").click()

    expect(keys.get_by_role("row", name=re.compile("second account"))).to_have_count(0)
    assert CANARY not in product.logs()


def test_a_project_ends_by_its_name_only(page: Page, product: Installation) -> None:
    create(page, product, "ends in a browser")
    project_id = page.url.rpartition("/")[2]
    token = product.token(project_id)
    assert product.send(token.secret).status_code == 200

    page.get_by_role("link", name="Delete", exact=True).click()
    expect(page.get_by_text("1 token of it works now")).to_be_visible()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_label("Type ends in a browser to confirm")).to_be_focused()
    page.get_by_label("Type ends in a browser to confirm").fill("ends in a browser")
    page.get_by_role("button", name="Delete for good").click()

    expect(page.get_by_text("This project was deleted.")).to_be_visible()
    until(lambda: product.send(token.secret).status_code in (401, 403))


@pytest.fixture
def plain(open_page: OpenPage) -> Iterator[Page]:
    """A browser without scripts."""
    yield open_page(java_script_enabled=False)


def test_it_works_without_scripts(plain: Page, product: Installation) -> None:
    create(plain, product, "without scripts")

    plain.get_by_role("link", name="Edit", exact=True).click()
    plain.get_by_label("Measure of limit 1").select_option("cost")
    plain.get_by_label("Amount of limit 1").fill("12.50")
    plain.get_by_label("Window of limit 1").select_option("month")
    plain.get_by_role("button", name="Save").click()
    expect(plain.get_by_role("row", name=re.compile(r"\$12\.50 per month"))).to_be_visible()
    plain.get_by_role("link", name="Delete", exact=True).click()
    plain.get_by_label("Type without scripts to confirm").fill("another name")
    plain.get_by_role("button", name="Delete for good").click()

    expect(plain.get_by_text("That is another name.")).to_be_visible()
    plain.get_by_label("Type without scripts to confirm").fill("without scripts")
    plain.get_by_role("button", name="Delete for good").click()
    expect(plain.get_by_text("This project was deleted.")).to_be_visible()


@pytest.fixture(scope="module")
def paths(product: Installation) -> list[str]:
    """Pages of projects with whatever is hard to show."""
    limits = [{"measure": "cost", "window": "month", "amount": "500.00"}, {"measure": "concurrent", "amount": 20}]
    made = [product.project(name, limits=limits) for name in (LONG, RTL)]
    product.send(product.token(made[0], label=RTL).secret)
    product.manage("PUT", "/manage/limits", {"limits": limits})
    [key] = product.manage("GET", f"/manage/projects/{made[0]}")["keys"]
    parts = ("", "/edit", "/deactivate", "/delete", "/revoke-tokens", "/keys/new")
    parts += tuple(f"/keys/{key['id']}/{what}" for what in ("edit", "rotate", "delete"))
    lists = ["/ui/projects", "/ui/projects?name_contains=nobody", "/ui/projects?is_active=perhaps", "/ui/projects/new"]
    return [*lists, *(f"/ui/projects/{made[0]}{part}" for part in parts), f"/ui/projects/{made[1]}", "/ui/limits/edit"]


@pytest.mark.parametrize("look", LOOKS)
def test_pages_of_projects_are_well_behaved(
    open_page: OpenPage, portrait: Portrait, paths: list[str], look: str
) -> None:
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)

    for number, path in enumerate(paths):
        page.goto(path)

        assert (path, flaws(page)) == (path, [])
        portrait(page, f"projects-{number:02}-{look}")
