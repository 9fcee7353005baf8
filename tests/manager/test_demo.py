"""Rules of the demo: it does what an operator and an application do, and says clearly what went wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests_mock

from manager import demo
from manager.demo import Demo, DemoError, Target
from shared import tokens

MANAGER, PROXY = "http://manager.test", "http://proxy.test"
KEY = "sk-provider-key-of-this-test"
TARGET = Target("demo", KEY, "http://provider.test", "a-model", lambda: [tokens.mask(KEY)])
PIECES = [{"choices": [{"delta": {"content": text}}]} for text in ("Hello", " you")]
STREAM = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}, *PIECES, {"choices": [], "usage": {}}]
ROW = {"request_id": "r1", "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "status": 200}
Mocker = requests_mock.Mocker


@pytest.fixture
def servers() -> Any:
    """Manager and proxy as they answer when all is well."""
    with requests_mock.Mocker() as mocker:
        mocker.get(f"{MANAGER}/manage/projects", json={"items": [], "next_cursor": None})
        mocker.post(f"{MANAGER}/manage/projects", json={"id": "p1"}, status_code=201)
        mocker.post(f"{MANAGER}/manage/tokens", json={"id": "t1", "token": "sk-llmp-x"}, status_code=201)
        mocker.get(f"{MANAGER}/manage/tokens/t1", json={"request_count": 1})
        mocker.get(f"{MANAGER}/manage/requests", json={"items": [ROW], "next_cursor": None})
        lines = [f"data: {json.dumps(event)}" for event in STREAM] + ["data: [DONE]", ""]
        mocker.post(
            f"{PROXY}/v1/chat/completions",
            text="\n\n".join(lines),
            headers={"x-llm-proxy-request-id": "r1"},
        )
        yield mocker


def run(target: Target = TARGET) -> demo.Report:
    return Demo(MANAGER, PROXY, "management-token").run(target)


def test_the_report_says_what_was_seen(servers: Mocker) -> None:
    report = run()

    assert (report.reply, report.streamed_chunks, report.request_count) == ("Hello you", 2, 1)
    assert report.usage == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert report.provider_saw_key == tokens.mask(KEY) and report.first_byte_ms > 0
    assert json.loads(report.to_json())["reply"] == "Hello you"


def test_operator_and_application_each_use_their_own_token(servers: Mocker) -> None:
    run()

    sent = {request.hostname: request.headers["authorization"] for request in servers.request_history}
    assert sent == {"manager.test": "Bearer management-token", "proxy.test": "Bearer sk-llmp-x"}


def test_neither_a_proxy_nor_passwords_of_the_environment_are_used(
    servers: Mocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password of-another-server")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://tap.test:3128")

    run()

    assert {str(request.proxies) for request in servers.request_history} == {"OrderedDict()"}
    sent = {request.headers["authorization"] for request in servers.request_history}
    assert sent == {"Bearer management-token", "Bearer sk-llmp-x"}


def test_a_project_of_an_earlier_run_is_found_on_a_later_page_and_updated(servers: Mocker) -> None:
    pages = [
        {"json": {"items": [{"id": "p7", "name": "other"}], "next_cursor": "more"}},
        {"json": {"items": [{"id": "p8", "name": "demo"}], "next_cursor": None}},
    ]
    servers.get(f"{MANAGER}/manage/projects", pages)
    update = servers.patch(f"{MANAGER}/manage/projects/p8", json={"id": "p8"})

    run()

    assert update.last_request.json() == {"base_url": "http://provider.test", "api_key": KEY, "is_active": True}
    assert [
        request.json()["project_id"] for request in servers.request_history if request.path == "/manage/tokens"
    ] == ["p8"]


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", f"{MANAGER}/manage/projects"),
        ("POST", f"{MANAGER}/manage/projects"),
        ("POST", f"{MANAGER}/manage/tokens"),
        ("POST", f"{PROXY}/v1/chat/completions"),
        ("GET", f"{MANAGER}/manage/requests"),
        ("GET", f"{MANAGER}/manage/tokens/t1"),
    ],
)
def test_each_step_that_fails_is_told_with_the_servers_words(servers: Mocker, method: str, url: str) -> None:
    servers.request(method, url, status_code=503, text="out of order")

    with pytest.raises(DemoError, match="503: out of order"):
        run()


def test_usage_that_never_arrives_is_told(servers: Mocker) -> None:
    servers.get(f"{MANAGER}/manage/requests", json={"items": [], "next_cursor": None})

    with pytest.raises(DemoError, match="usage of request r1 has not arrived within 0.05 s"):
        Demo(MANAGER, PROXY, "management-token", usage_seconds=0.05).run(TARGET)


def test_a_provider_that_was_shown_another_key_is_told(servers: Mocker) -> None:
    with pytest.raises(DemoError, match="another key"):
        run(Target("demo", KEY, "", "m", lambda: ["sk-l****abcd"]))


def test_a_real_provider_cannot_be_asked_what_it_saw(servers: Mocker) -> None:
    assert run(Target("demo", KEY, "", "m")).provider_saw_key is None
