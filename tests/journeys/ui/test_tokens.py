"""An operator makes tokens and operators, hands out what is shown once, and ends them, in a browser."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Installation, Token, until
from tests.journeys.ui.conftest import DESK, PHONE, OpenPage, Portrait, flaws, sign_in

LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}
LONG = "supercalifragilisticexpialidocious" * 5
RTL = "مهمة ليلية طويلة 🦊"
ASK = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def project(product: Installation, request: pytest.FixtureRequest) -> str:
    """The name of a project that goes to the mock provider."""
    product.project(request.node.name)
    return str(request.node.name)


def make(page: Page, project: str, **fields: str) -> None:
    """Fill in the form for new tokens, and send it."""
    page.goto("/ui/tokens")
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Project", exact=True).fill(project)
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(value)
    page.get_by_role("button", name="Make it").click()


def secret(page: Page) -> str:
    return page.locator("[data-secret]").inner_text()


def ask(product: Installation, token: str) -> int:
    return product.send(token).status_code


# Made and used


def test_a_token_is_made_copied_used_and_revoked(page: Page, product: Installation, project: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    make(page, project, Label="nightly")
    page.get_by_role("button", name="Copy the token").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert token == secret(page) and token not in page.url

    shown = page.locator("pre:visible").inner_text()
    ran = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0 and ran.stdout.strip(), ran.stderr

    page.get_by_role("link", name="Go to the token").click()
    requests = page.locator("#requests tbody tr")

    def is_recorded() -> bool:
        page.reload()
        return requests.count() == 1

    until(is_recorded)
    assert token not in page.content()
    page.get_by_role("link", name="Revoke", exact=True).click()
    expect(page.get_by_role("heading", name="Revoke nightly?")).to_be_visible()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("This token was revoked.")).to_be_visible()
    assert ask(product, token) == 401
    assert page.locator("#audit tbody code").all_inner_texts() == ["token.revoke", "token.create"]


@pytest.mark.parametrize("label", ["curl", "LangChain"])
def test_examples_are_in_tabs_that_the_keyboard_opens(page: Page, project: str, label: str) -> None:
    make(page, project)

    page.get_by_role("radio", name="Python").focus()
    while not page.get_by_role("radio", name=label).is_checked():
        page.keyboard.press("ArrowRight")

    expect(page.locator("pre:visible")).to_have_count(1)
    assert ("curl" if label == "curl" else "ChatOpenAI") in page.locator("pre:visible").inner_text()


def test_the_curl_that_is_shown_works(page: Page, project: str) -> None:
    make(page, project)
    page.get_by_text("curl", exact=True).click()

    shown = page.locator("pre:visible").inner_text()
    ran = subprocess.run(["sh", "-c", f"{shown.strip()} -sS"], capture_output=True, text=True, timeout=60, check=False)

    assert '"chat.completion"' in ran.stdout, ran.stdout + ran.stderr


def test_a_page_that_is_loaded_again_shows_the_same_and_nothing_after_a_revocation(
    page: Page, product: Installation, project: str
) -> None:
    make(page, project)
    shown = secret(page)

    page.reload()
    assert secret(page) == shown

    token_id = (page.get_by_role("link", name="Go to the token").get_attribute("href") or "").rpartition("/")[2]
    product.manage("DELETE", f"/manage/tokens/{token_id}")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("is not shown again")
    assert shown not in page.content()


def test_many_are_made_at_once_and_saved_as_a_file(
    page: Page, product: Installation, project: str, tmp_path: Path
) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    make(page, project, Label="worker", How_many="30")

    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    saved.value.save_as(tmp_path / "tokens.csv")

    lines = (tmp_path / "tokens.csv").read_text().splitlines()
    tokens = [line.split(",")[1] for line in lines[1:]]
    assert saved.value.suggested_filename == "tokens.csv" and lines[0] == "label,token,id,expires_at"
    assert len(set(tokens)) == 30 and ask(product, tokens[-1]) == 200
    assert not [address for address in addresses if any(token in address for token in tokens)]


def test_what_is_chosen_of_a_life_is_asked_for_and_the_rest_is_hidden(page: Page, project: str) -> None:
    page.goto("/ui/tokens/new")
    span, moment = page.get_by_label("Time span"), page.get_by_label("Moment (UTC)")
    expect(span).to_be_hidden()
    expect(moment).to_be_hidden()

    page.get_by_label("Lives for").select_option("for")
    expect(span).to_be_visible()
    page.get_by_label("Project", exact=True).fill(project)
    span.fill("soon")
    page.get_by_role("button", name="Make it").click()

    expect(span).to_be_visible()
    expect(span).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Project", exact=True)).to_have_value(project)


def test_a_token_is_changed_and_given_another_secret(page: Page, product: Installation, project: str) -> None:
    make(page, project, Label="nightly")
    old = secret(page)
    page.get_by_role("link", name="Go to the token").click()

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Label").fill("weekly")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("weekly")

    page.get_by_role("link", name="New secret").click()
    page.get_by_label("The old secret works on for").select_option("End at once")
    page.get_by_role("button", name="Make a new secret").click()
    new = secret(page)
    assert (ask(product, old), ask(product, new)) == (401, 200)


# Many ended


def test_ticked_ones_are_revoked(page: Page, product: Installation, project: str) -> None:
    make(page, project, Label="worker", How_many="3")
    tokens = page.locator("code.whole").all_inner_texts()
    page.get_by_role("link", name="Tokens of this project").click()
    button = page.locator("[data-tick-button]")
    expect(button).to_be_disabled()

    page.get_by_label("Tick worker 1").check()
    expect(button).to_have_text("Revoke 1 token…")
    page.get_by_label("Tick all of this page").check()
    page.get_by_label("Tick worker 3").uncheck()
    expect(button).to_have_text("Revoke 2 tokens…")
    button.click()
    page.get_by_role("button", name="Revoke 2 tokens").click()

    expect(page.get_by_role("status").filter(has_text="2 tokens revoked.")).to_be_visible()
    assert sorted(ask(product, token) for token in tokens) == [200, 401, 401]


def test_all_that_fit_are_revoked_when_it_was_typed(page: Page, product: Installation, project: str) -> None:
    make(page, project, Label="worker", How_many="3")
    tokens = page.locator("code.whole").all_inner_texts()
    page.get_by_role("link", name="Tokens of this project").click()

    page.get_by_role("link", name="Revoke all that fit…").click()
    expect(page.get_by_role("listitem").filter(has_text=f"{project}: 3")).to_be_visible()
    page.get_by_role("button", name="Revoke 3 tokens").click()
    expect(page.get_by_label("Type revoke 3 to confirm")).to_be_focused()  # The browser says it itself.
    page.keyboard.type("revoke 3")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status").filter(has_text="3 tokens revoked.")).to_be_visible()
    assert {ask(product, token) for token in tokens} == {401}


# Without scripts


def test_everything_works_without_scripts(open_page: OpenPage, product: Installation, project: str) -> None:
    page = open_page(java_script_enabled=False)
    make(page, project, Label="plain", How_many="2")
    tokens = page.locator("code.whole").all_inner_texts()
    page.get_by_text("As text, for a file").click()
    assert all(token in page.locator("#all-secrets").inner_text() for token in tokens)
    page.get_by_text("Node", exact=True).click()
    expect(page.locator(".tab pre:visible")).to_contain_text("import OpenAI")

    page.get_by_role("link", name="Tokens of this project").click()
    page.get_by_label("Tick plain 1").check()
    page.get_by_role("button", name="Revoke the ticked ones…").click()
    page.get_by_role("button", name="Revoke 1 token").click()
    expect(page.get_by_text("1 token revoked.")).to_be_visible()
    assert sorted(ask(product, token) for token in tokens) == [200, 401]

    page.goto("/ui/tokens/new")
    for label in ("Time span", "Moment (UTC)"):
        expect(page.get_by_label(label)).to_be_visible()
    page.get_by_label("Project", exact=True).fill(project)
    page.get_by_label("Lives for").select_option("for")
    page.get_by_label("Time span").fill("PT5M")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("link", name="Go to the token").click()
    expect(page.get_by_role("table", name="Requests by hour, last day")).to_be_visible()


# Operators


def test_an_operator_is_made_signs_in_and_is_revoked(open_page: OpenPage, project: str) -> None:
    page, theirs = open_page(), open_page(None)
    page.goto("/ui/operators")
    page.get_by_role("link", name="New operator").click()
    page.get_by_label("Name").fill(f"ann of {project}")
    page.get_by_label("Role").select_option("auditor")
    page.get_by_label("Only these projects").fill(project)
    page.get_by_role("button", name="Make it").click()
    token = secret(page)

    sign_in(theirs, token)
    theirs.goto("/ui/me")
    expect(theirs.get_by_role("link", name=project, exact=True)).to_be_visible()
    theirs.goto("/ui/tokens")
    expect(theirs.get_by_role("link", name="New token")).to_have_count(0)

    page.get_by_role("link", name="Go to the operator").click()
    page.get_by_role("link", name="New token").click()
    page.get_by_role("button", name="Make a new token").click()
    assert secret(page) != token
    theirs.reload()
    expect(theirs).to_have_url(re.compile("/ui/sign-in"))

    sign_in(theirs, secret(page))
    page.get_by_role("link", name="Go to the operator").click()
    page.get_by_role("link", name="Revoke", exact=True).click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("This operator was revoked.")).to_be_visible()
    theirs.reload()
    expect(theirs).to_have_url(re.compile("/ui/sign-in"))


# Looks


@pytest.fixture
def used(product: Installation) -> Token:
    """A token that has much to show, among many others."""
    name = f"{LONG} {RTL} {id(product)}"
    known = product.manage("GET", f"/manage/projects?name_contains={LONG[:40]}")["items"]
    project_id = known[0]["id"] if known else product.project(name[:200])
    limits = [
        {"measure": "tokens", "window": "day", "amount": 100_000},
        {"measure": "requests", "window": "minute", "amount": 600, "burst": 20},
    ]
    policy = {"allowed_models": ["gpt-*"], "denied_models": ["*-preview"], "max_values": {"max_tokens": 4096}}
    token = product.token(project_id, label=f"{LONG} {RTL}", max_requests=1000, limits=limits, policy=policy)
    body = {"project_id": project_id, "expires_in": 3600, "labels": [RTL, LONG, "", *map(str, range(57))]}
    product.manage("POST", "/manage/tokens/batch", body)
    with product.client(token) as client:
        for _ in range(3):
            client.chat.completions.create(model="gpt-4o-mini", messages=ASK)  # type: ignore[call-overload]
    until(lambda: product.manage("GET", f"/manage/requests?token_id={token.id}")["items"])
    return token


@pytest.mark.parametrize("look", LOOKS)
def test_pages_of_tokens_look_well(
    open_page: OpenPage, portrait: Portrait, product: Installation, used: Token, look: str
) -> None:
    theme, size = LOOKS[look]
    page = open_page(theme=theme, size=size)

    for name, path in pages(product, used):
        page.goto(path)
        check(page, name)
        portrait(page, f"{name}-{look}")
    for name, count in (("token-made", "1"), ("tokens-made", "60")):
        make(page, product.manage("GET", f"/manage/projects/{used.project_id}")["name"], Label=RTL, How_many=count)
        expect(page.locator("code.whole" if count != "1" else "[data-secret]").first).to_be_visible()
        check(page, name)
        portrait(page, f"{name}-{look}")
    page.goto("/ui/tokens/new")
    page.get_by_label("Project", exact=True).fill("nobody's")
    page.get_by_label("Lives for").select_option("for")
    page.get_by_role("button", name="Make it").click()
    check(page, "token-refused")
    portrait(page, f"token-refused-{look}")


def pages(product: Installation, token: Token) -> Iterator[tuple[str, str]]:
    """What pages there are of tokens and operators, and where."""
    named = {"name": f"{LONG[:100]} {RTL} {token.id}", "role": "operator", "project_ids": [token.project_id]}
    operator = product.manage("POST", "/manage/operators", named)["id"]
    yield "tokens", "/ui/tokens"
    yield "tokens-of-nobody", "/ui/tokens?label_contains=nothing-like-it"
    yield "tokens-refused", "/ui/tokens?state=asleep&expires_before=soon"
    yield "token", f"/ui/tokens/{token.id}"
    for part in ("edit", "refresh", "revoke"):
        yield f"token-{part}", f"/ui/tokens/{token.id}/{part}"
    yield "tokens-revoke", f"/ui/tokens/revoke?project_id={token.project_id}"
    yield "tokens-revoke-ticked", f"/ui/tokens/revoke?ids={token.id}"
    yield "operators", "/ui/operators"
    yield "operator", f"/ui/operators/{operator}"
    for part in ("edit", "rotate", "revoke"):
        yield f"operator-{part}", f"/ui/operators/{operator}/{part}"
    yield "operator-new", "/ui/operators/new"
    yield "me", "/ui/me"


def check(page: Page, name: str) -> None:
    assert (name, flaws(page)) == (name, [])
