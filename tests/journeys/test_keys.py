"""A project with several provider keys: what is wrong with some of them is nothing that its callers notice."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from shared import tokens
from tests.journeys.conftest import Installation, Token, until

REQUESTS = 1000
CLIENTS = 16
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "tell me about it"}]}
REVOKED, LIMITED = "sk-revoked-0123456789-abcdefgh", "sk-limited-0123456789-ijklmnop"


@pytest.fixture
def treated(installation: Installation) -> Iterator[None]:
    """Two more keys at the provider: one that it has revoked, and one that may do five requests a second."""
    url = f"{installation.mock_url}/__mock__/keys"
    for rule in ({"key": REVOKED, "status": 401}, {"key": LIMITED, "rate": 5}):
        requests.put(url, json=rule, timeout=10).raise_for_status()
    yield
    requests.delete(url, timeout=10).raise_for_status()


def ask(installation: Installation, token: Token, number: int) -> str:
    """Send one request of four kinds, and say in a word how it went."""
    worker, kind = number % 2, number // 2 % 4
    if kind == 0:
        answer = installation.send(token.secret, worker=worker)
    elif kind == 1:
        answer = installation.send(token.secret, "POST", "/v1/chat/completions", worker, json=ASK)
    elif kind == 2:
        answer = installation.send(token.secret, "POST", "/v1/chat/completions", worker, json={**ASK, "stream": True})
    else:
        answer = installation.send(token.secret, "POST", "/v1/files", worker, files={"file": b"a small one"})
    is_whole = kind != 2 or answer.text.endswith("data: [DONE]\n\n")
    return "right" if answer.status_code == 200 and is_whole else f"{answer.status_code} {answer.text[-300:]}"


def test_three_keys_of_which_two_are_out_serve_without_an_error(installation: Installation, treated: None) -> None:
    project_id = installation.project("three keys")
    added = {
        key: installation.manage("POST", f"/manage/projects/{project_id}/keys", {"api_key": key})["id"]
        for key in (REVOKED, LIMITED)
    }
    token = installation.token(project_id)
    installation.forget_ledger()

    with ThreadPoolExecutor(CLIENTS) as clients:
        got = Counter(clients.map(lambda number: ask(installation, token, number), range(REQUESTS)))

    shown = {key["id"]: key for key in installation.manage("GET", f"/manage/projects/{project_id}/keys")["items"]}
    used = Counter(entry["key"] for entry in installation.ledger()["recent"])
    asked = installation.ledger()["requests"]
    assert got == {"right": REQUESTS}
    assert shown[added[REVOKED]]["health"]["state"] == "set_aside"
    assert shown[added[REVOKED]]["health"]["reason"] == "status_401"
    assert 0 < asked - REQUESTS < REQUESTS / 5, "what is out is not asked again and again"
    assert used[tokens.mask(LIMITED)] > 0
    until(lambda: installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"] == REQUESTS)
