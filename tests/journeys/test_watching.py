"""Security staff watch real requests in mitmweb: they appear live, are found, held, edited and killed."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from playwright.sync_api import expect, sync_playwright

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


def test_a_stream_of_worker_two_is_watched_found_and_killed(
    installation: Installation, watched: Token, inspector: Inspector
) -> None:
    found = subprocess.run([CHROMIUM], capture_output=True, text=True, check=True)
    secret = str(installation.session.headers["authorization"]).removeprefix("Bearer ")
    words = {"chunks": 100_000, "chunk_interval_ms": 20}
    asked = Asked(installation, watched, worker=1, **words)
    request_id = until(lambda: streaming(installation, watched))
    inspector.awaits(request_id, lambda flow: "response" in flow)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(20_000)
        page.goto(inspector.url)
        page.get_by_label("operator's token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_placeholder("Search").fill("~comment token=nightly & ~comment request=" + request_id)
        expect(page.locator("tbody tr").filter(has_text="POST")).to_have_count(1)
        page.goto(f"{inspector.url}/#/flows/{request_id}/response")
        page.reload()
        expect(page.locator("body")).to_contain_text("LLM answer", timeout=30_000)
        expect(page.locator("body")).to_contain_text("assistant", timeout=30_000)
        _abort(inspector, request_id)
        killed = time.monotonic()
        asked.join()
        ended = time.monotonic() - killed
        browser.close()
    assert ended < CUT_SECONDS
    assert audited(installation, "request.cut", watched)[0]["detail"]["request_id"] == request_id


def streaming(installation: Installation, token: Token) -> str:
    items = installation.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]
    return str(items[0]["request_id"]) if items and items[0]["chunks"] else ""


def _abort(inspector: Inspector, request_id: str) -> None:
    inspector.ask("POST", f"/flows/{request_id}/kill").raise_for_status()
