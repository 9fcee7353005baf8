"""Security staff look at flows of all workers in mitmweb, and act on them; proxying does not depend on any of it.

Flows are told of here by hand, as the contract has it, so that these rules are about the inspector alone.
"""

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect, sync_playwright

from shared import settings
from tests import flow_records
from tests.flow_records import ended, held, hold, record, streaming, tell
from tests.journeys.conftest import Inspector, Installation, StartInspector, Token, until
from tests.journeys.test_resilience import CUT_SECONDS, Asked

CHROMIUM = Path(__file__).parents[2] / "scripts" / "chromium"
ENDLESS = {"chunks": 100_000, "chunk_interval_ms": 20}


@pytest.fixture
def token(installation: Installation, request: pytest.FixtureRequest) -> Token:
    return installation.token(installation.project(request.node.name), label="nightly")


def audited(installation: Installation, action: str) -> list[dict[str, Any]]:
    """Return the newest events of an action."""
    found: list[dict[str, Any]] = installation.manage("GET", f"/manage/audit?action={action}&limit=5")["items"]
    return found


def running(installation: Installation, token: Token) -> str:
    """Return the id of the one request of a token that is in flight."""

    def found() -> str | None:
        items = installation.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]
        return str(items[0]["request_id"]) if items and items[0]["chunks"] else None

    return until(found) or ""


def test_a_flow_is_looked_at_by_its_token_and_opening_is_audited(
    installation: Installation, inspector: Inspector
) -> None:
    with installation.redis() as client:
        tell(client, record(1, token_label="nightly"), ended(2, token_label="daily"))

    inspector.awaits(flow_records.request_id(2))
    found = inspector.ask("GET", "/flows/dump", params={"filter": "~comment token=nightly"})

    assert flow_records.request_id(1).encode() in found.content
    assert flow_records.request_id(2).encode() not in found.content
    assert audited(installation, "inspector.open")


def test_a_stream_of_any_worker_is_killed_within_a_second_by_whoever_may(
    installation: Installation, inspector: Inspector, token: Token
) -> None:
    asked = Asked(installation, token, worker=1, **ENDLESS)
    request_id = running(installation, token)
    with installation.redis() as client:
        tell(client, streaming(request_id=request_id))
    inspector.awaits(request_id)
    inspector.ask("PUT", f"/flows/{request_id}", json={"comment": "runs in circles"}).raise_for_status()

    inspector.ask("POST", f"/flows/{request_id}/kill").raise_for_status()
    killed = time.monotonic()
    asked.join()

    assert time.monotonic() - killed < CUT_SECONDS
    [newest, *_] = audited(installation, "request.cut")
    assert newest["detail"] == {"request_id": request_id, "reason": "runs in circles"}


def test_an_auditor_looks_and_does_nothing(
    installation: Installation, inspector: Inspector, start: StartInspector, token: Token
) -> None:
    name = {"name": f"auditor of {token.id}", "role": "auditor"}
    auditor = start(installation.manage("POST", "/manage/operators", name)["token"])
    with installation.redis() as client:
        tell(client, streaming())
    auditor.awaits(flow_records.request_id(1))

    assert auditor.ask("POST", f"/flows/{flow_records.request_id(1)}/kill").status_code == 403


@pytest.mark.parametrize("is_known", [True, False], ids=["one project", "nobody"])
def test_who_does_not_see_all_projects_is_not_let_in(
    installation: Installation, inspector: Inspector, token: Token, is_known: bool
) -> None:
    secret = settings.generate_secret()
    if is_known:
        wanted = {"name": f"partial of {token.id}", "role": "operator", "project_ids": [token.project_id]}
        secret = installation.manage("POST", "/manage/operators", wanted)["token"]

    answer = requests.get(f"{inspector.url}/flows", headers={"authorization": f"Bearer {secret}"}, timeout=20)

    assert answer.status_code in (401, 403) and answer.text != ""


def test_an_inspector_that_is_killed_costs_nothing_but_its_view(
    installation: Installation, inspector: Inspector, start: StartInspector, token: Token
) -> None:
    with installation.redis() as client:
        tell(client, ended(1))
    inspector.awaits(flow_records.request_id(1))

    inspector.supervisor._children[0].process.send_signal(signal.SIGKILL)
    answer = installation.client(token).chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    again = start()

    assert answer.choices[0].message.content
    assert again.awaits(flow_records.request_id(1))["comment"].startswith("request=")


def test_the_page_is_used_as_people_do(installation: Installation, inspector: Inspector) -> None:
    found = subprocess.run([CHROMIUM], capture_output=True, text=True, check=True)
    secret = str(installation.session.headers["authorization"]).removeprefix("Bearer ")
    complaints: list[str] = []
    with installation.redis() as client:
        tell(client, ended(1, token_label="daily"), ended(2, token_label="nightly"))
        hold(client, held(3))
    inspector.awaits(flow_records.request_id(3))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(inspector.url)
        page.get_by_label("operator's token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        _look(page)
        with installation.redis() as client:
            tell(client, streaming(4, token_label="nightly"))
        expect(_rows(page)).to_have_count(2)
        page.get_by_placeholder("Search").fill("")
        _edit(page)
        inspector.awaits(flow_records.request_id(3), lambda flow: flow["modified"])
        browser.close()
    assert complaints == []


def _rows(page: Page) -> Any:
    return page.locator("tbody tr").filter(has_text=re.compile("POST"))


def _look(page: Page) -> None:
    expect(_rows(page)).to_have_count(3)
    page.get_by_placeholder("Search").fill("~comment token=nightly & !~comment state=held")
    expect(_rows(page)).to_have_count(1)


def _edit(page: Page) -> None:
    expect(_rows(page)).to_have_count(4)
    _rows(page).nth(2).click()
    page.get_by_text("Edit", exact=True).first.click()
    page.locator(".cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.type('{"model":"another"}')
    page.get_by_text("Done", exact=True).first.click()
