"""Security staff watch real requests in mitmweb: they appear live, are found, held, edited and killed."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.journeys.conftest import Inspector, Installation, Token, until
from tests.journeys.test_resilience import CUT_SECONDS, Asked

CHROMIUM = Path(__file__).parents[2] / "scripts" / "chromium"
MAIL = "paula.patient@clinic.example"
WATCHED = {"capture": "full", "hidden": ["emails"]}


@pytest.fixture
def watched(installation: Installation, request: pytest.FixtureRequest) -> Token:
    """A token of a project whose requests are captured whole, without e-mail addresses."""
    return installation.token(installation.project(request.node.name, inspection=WATCHED), label="nightly")


@pytest.fixture
def rule(installation: Installation, watched: Token) -> Iterator[Callable[..., None]]:
    """Makes rules about the requests of that project, in force on all workers."""
    made: list[str] = []

    def make(**fields: Any) -> None:
        body = {"name": f"{fields['action']} of {watched.id}", "project_id": watched.project_id, **fields}
        made.append(installation.manage("POST", "/manage/rules", body)["id"])

    yield make
    for rule_id in made:
        installation.manage("DELETE", f"/manage/rules/{rule_id}")


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def audited(installation: Installation, action: str, token: Token) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installation.manage("GET", f"/manage/audit?action={action}&token_id={token.id}")[
        "items"
    ]
    return found


def flow_of(inspector: Inspector, token: Token, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the flow of a token's project that is so, once there is one."""
    name = token.project_id

    def found() -> dict[str, Any] | None:
        flows = [flow for flow in inspector.flows().values() if name in _project_of(inspector, flow)]
        return next((flow for flow in flows if condition(flow)), None)

    return until(found) or {}


def _project_of(inspector: Inspector, flow: dict[str, Any]) -> str:
    return str(flow["comment"])


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Do something meanwhile; its result, or what it raised, comes into the list."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


# Rules, by the API


def test_a_denied_request_never_goes_out(installation: Installation, watched: Token, rule: Callable[..., None]) -> None:
    rule(action="deny", filter='~bq "secret project"')
    client = installation.client(watched)

    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(**chat("tell me of the Secret Project"))
    answer = client.chat.completions.create(**chat("tell me of the weather"))

    assert refused.value.code == "request_denied" and "weather" in str(answer.choices[0].message.content)


def test_nobody_decides_and_the_request_ends(
    installation: Installation, watched: Token, rule: Callable[..., None]
) -> None:
    rule(action="hold", filter="~m POST", hold_seconds=1)

    with pytest.raises(openai.PermissionDeniedError) as refused:
        installation.client(watched).chat.completions.create(**chat("hi"))

    assert refused.value.code == "hold_expired"


@pytest.mark.parametrize("worker", [0, 1])
def test_hold_edit_and_resume_change_what_the_provider_receives(
    installation: Installation, watched: Token, rule: Callable[..., None], inspector: Inspector, worker: int
) -> None:
    rule(action="hold", filter="~bq transfer", hold_seconds=60)
    client = installation.client(watched, worker)
    thread, results = in_thread(lambda: client.chat.completions.create(**chat(f"transfer 900 to {MAIL}")))
    [held] = until(lambda: _held(installation, watched))
    shown = inspector.awaits(held, lambda flow: flow["intercepted"] and "held" in flow["comment"])
    body = until(
        lambda: text if "transfer" in (text := inspector.ask("GET", f"/flows/{held}/request/content.data").text) else ""
    )

    assert MAIL not in body and "[email 1]" in body and shown["id"] == held
    edited = body.replace("transfer 900", "transfer 1")
    inspector.ask("PUT", f"/flows/{held}", json={"request": {"content": edited}}).raise_for_status()
    inspector.ask("POST", f"/flows/{held}/resume").raise_for_status()
    thread.join(20)

    assert f"transfer 1 to {MAIL}" in str(results[0].choices[0].message.content)
    [event] = audited(installation, "request.edit", watched)
    assert event["detail"]["request_id"] == held and event["detail"]["before_sha256"] != event["detail"]["after_sha256"]


def _held(installation: Installation, token: Token) -> list[str]:
    items = installation.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]
    return [item["request_id"] for item in items if item["state"] == "held"]


def test_a_held_request_is_refused_by_an_operator(
    installation: Installation, watched: Token, rule: Callable[..., None]
) -> None:
    rule(action="hold", filter="~m POST", hold_seconds=60)
    client = installation.client(watched)
    thread, results = in_thread(lambda: client.chat.completions.create(**chat("hi")))
    [held] = until(lambda: _held(installation, watched))

    installation.manage("POST", f"/manage/live/{held}/refuse", {"reason": "no"})
    thread.join(20)

    assert isinstance(results[0], openai.PermissionDeniedError) and results[0].code == "request_refused"


# mitmweb


expect.set_options(timeout=30_000)


@pytest.fixture
def officer(installation: Installation, inspector: Inspector) -> Iterator[Page]:
    """mitmweb, as somebody sees it who has signed in."""
    found = subprocess.run([CHROMIUM], capture_output=True, text=True, check=True)
    secret = str(installation.session.headers["authorization"]).removeprefix("Bearer ")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(30_000)
        page.goto(inspector.url)
        page.get_by_label("operator's token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_placeholder("Search")).to_be_visible()
        yield page
        browser.close()


def rows(page: Page) -> Locator:
    return page.locator("tbody tr").filter(has_text="POST")


def test_a_stream_of_worker_two_shows_up_live_is_found_and_killed(
    installation: Installation, watched: Token, officer: Page
) -> None:
    # What earlier tests have asked for may end only now.
    own = "~comment project=test_a_stream_of_worker_two"
    officer.get_by_placeholder("Search").fill(own)
    other = installation.token(watched.project_id, label="daily")
    installation.client(other).chat.completions.create(**chat("hello"))
    expect(rows(officer)).to_have_count(1)
    asked = Asked(installation, watched, worker=1, chunks=100_000, chunk_interval_ms=20)
    expect(rows(officer)).to_have_count(2)
    officer.get_by_placeholder("Search").fill(f"{own} & ~comment token=nightly")
    expect(rows(officer)).to_have_count(1)

    rows(officer).first.click()
    officer.get_by_text("Response", exact=True).first.click()
    answer = officer.locator(".contentview, .cm-content, .content-renderer").last
    expect(answer).to_contain_text("# assistant")
    before = len(answer.inner_text())
    until(lambda: len(answer.inner_text()) > before)
    officer.get_by_text("Flow", exact=True).first.click()
    officer.get_by_role("button", name="Abort").click()
    killed = time.monotonic()
    asked.join()

    assert asked.ended - killed < CUT_SECONDS
    [event] = audited(installation, "request.cut", watched)
    assert event["actor"] == "management" and event["detail"]["reason"] == "in mitmweb"
    expect(rows(officer)).to_have_count(1)


def test_a_held_request_is_edited_and_resumed_on_the_page(
    installation: Installation, watched: Token, rule: Callable[..., None], officer: Page
) -> None:
    rule(action="hold", filter="~bq transfer", hold_seconds=120)
    client = installation.client(watched, 1)
    thread, results = in_thread(lambda: client.chat.completions.create(**chat(f"transfer 900 to {MAIL}")))
    officer.get_by_placeholder("Search").fill("~comment project=test_a_held_request_is_edited & ~comment state=held")
    rows(officer).first.click()
    officer.get_by_text("Request", exact=True).first.click()
    officer.get_by_text("Edit", exact=True).first.click()
    officer.locator(".cm-content").first.click()
    officer.keyboard.press("Control+a")
    officer.keyboard.insert_text(json.dumps(chat("transfer 1 to [email 1]")))
    officer.get_by_text("Done", exact=True).first.click()
    officer.get_by_text("Flow", exact=True).first.click()
    officer.get_by_role("button", name="Resume").click()
    thread.join(30)

    assert f"transfer 1 to {MAIL}" in str(results[0].choices[0].message.content)
    [event] = audited(installation, "request.edit", watched)
    assert event["actor"] == "management" and event["detail"]["before_sha256"] != event["detail"]["after_sha256"]


def streaming(installation: Installation, token: Token) -> str:
    items = installation.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]
    return str(items[0]["request_id"]) if items and items[0]["chunks"] else ""
