"""The provider dies, the client leaves, the token is revoked: what can go on goes on, and the rest ends clearly."""

import json
import socket
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from wsproto import events

from tests.journeys.conftest import Installation, Token, kill, until
from tests.manager.mock_provider.conftest import Socket

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "tell me about it"}]}
# What the product promises: revoked means ended within a second.
CUT_SECONDS = 1.0
CLIENTS = 16


@pytest.fixture(scope="module")
def installation(hurried_installation: Installation) -> Installation:
    return hurried_installation


@pytest.fixture
def token(installation: Installation, request: pytest.FixtureRequest) -> Token:
    return installation.token(installation.project(request.node.name))


def behaving(**fields: Any) -> dict[str, str]:
    return {"x-mock-behaviour": json.dumps(fields)}


class Asked:
    """A question asked in a thread of its own: what came, how it ended, and when."""

    def __init__(
        self, installation: Installation, token: Token, worker: int = 0, url: str = "", **behaviour: Any
    ) -> None:
        self._asking = (url or installation.proxy_urls[worker], token, behaviour)
        self.status = 0
        self.content = b""
        self.ended = 0.0
        self.error = ""
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        url, token, behaviour = self._asking
        body, headers = {**ASK, "stream": True}, behaving(**behaviour)
        headers["authorization"] = f"Bearer {token.secret}"
        try:
            with requests.post(url + CHAT, json=body, headers=headers, stream=True, timeout=20) as got:
                self.status = got.status_code
                for piece in got.iter_content(None):
                    self.content += piece
        except requests.RequestException as error:
            self.error = repr(error)
        self.ended = time.monotonic()

    def join(self) -> "Asked":
        self._thread.join(30)
        assert not self._thread.is_alive(), "the answer does not end"
        return self

    def code(self) -> str:
        """The code of the error that ended the answer: its last event, or all of it."""
        return str(json.loads(self.content.rstrip().rpartition(b"data: ")[2])["error"]["code"])


def entries_open(installation: Installation) -> int:
    return sum(entry["outcome"] == "open" for entry in installation.ledger()["recent"])


# The provider dies


class Load:
    """Clients that ask one plain question after the other, some of them for streams."""

    def __init__(self, installation: Installation, token: Token) -> None:
        self.outcomes: Counter[str] = Counter()
        self._installation, self._token = installation, token
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._keep_asking, args=(number,)) for number in range(CLIENTS)]

    def _keep_asking(self, number: int) -> None:
        with requests.Session() as session:
            while not self._over.is_set():
                self.outcomes[self._ask(session, number)] += 1

    def _ask(self, session: requests.Session, number: int) -> str:
        url = self._installation.proxy_urls[number % 2] + CHAT
        headers = {"authorization": f"Bearer {self._token.secret}", **behaving(chunk_interval_ms=20)}
        body, received, has_begun = {**ASK, "stream": number % 4 == 0}, b"", False
        try:
            with session.post(url, json=body, headers=headers, timeout=40, stream=True) as answer:
                has_begun = True
                for piece in answer.iter_content(None):
                    received += piece
        except requests.RequestException:
            return "broken" if has_begun else "broken before it began"
        if answer.status_code != 200:
            return f"{answer.status_code} {json.loads(received)['error']['code']}"
        return (
            "whole" if received.rstrip().endswith((b"[DONE]", b"}")) and b'"error"' not in received else "error event"
        )

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def changes(installation: Installation, state: str) -> float:
    name = "llm_proxy_breaker_changes_total"
    return sum(installation.metric(name, worker, subject="origin", state=state) for worker in (0, 1))


def test_a_provider_that_is_killed_and_restarted_is_hardly_noticed(installation: Installation, token: Token) -> None:
    before = {state: changes(installation, state) for state in ("open", "half_open", "closed")}
    old = installation.supervisor.pids()["mock-provider"]
    with Load(installation, token) as load:
        until(lambda: load.outcomes["whole"] > 100)

        kill(old)
        until(lambda: changes(installation, "open") > before["open"])
        until(lambda: installation.supervisor.tend() or installation.supervisor.pids()["mock-provider"] != old)
        until(lambda: changes(installation, "closed") > before["closed"])
        whole = load.outcomes["whole"]
        until(lambda: load.outcomes["whole"] > whole + 100)

    assert set(load.outcomes) <= {"whole", "error event", "broken"}, "only what had begun may end badly"
    assert load.outcomes["error event"] + load.outcomes["broken"] <= CLIENTS
    assert all(changes(installation, state) > before[state] for state in before)
    lines = [json.loads(line) for line in installation.logs("proxy-*").splitlines() if line]
    logged = {line["state"] for line in lines if line["event"] == "breaker_changed"}
    assert logged >= {"open", "half_open", "closed"}


# The token is revoked


@pytest.mark.parametrize("kind", ["token", "project"])
def test_revoking_ends_every_stream_on_every_worker_within_a_second(
    installation: Installation, token: Token, kind: str
) -> None:
    opened = entries_open(installation)
    silent = Asked(installation, token, worker=0, hold_after=2)
    flowing = Asked(installation, token, worker=1, chunks=100_000, chunk_interval_ms=20)
    waiting = Asked(installation, token, worker=1, latency_ms=60_000)
    until(lambda: silent.content and len(flowing.content) > 1000 and entries_open(installation) == opened + 3)

    if kind == "token":
        installation.manage("DELETE", f"/manage/tokens/{token.id}")
    else:
        installation.manage("PATCH", f"/manage/projects/{token.project_id}", {"is_active": False})
    answered = time.monotonic()
    cut = [asked.join() for asked in (silent, flowing, waiting)]

    code, refused = {"token": ("token_inactive", 401), "project": ("project_inactive", 403)}[kind]
    seconds = [asked.ended - answered for asked in cut]
    assert max(seconds) < CUT_SECONDS
    assert [(asked.status, asked.code(), asked.error) for asked in cut] == [
        (200, code, ""),
        (200, code, ""),
        (refused, code, ""),
    ]
    rows = installation.usage_of(token, 3)
    assert sorted((row["outcome"], row["error_code"], row["status"]) for row in rows) == sorted(
        [("cut", code, 200), ("cut", code, 200), ("cut", code, refused)]
    )
    until(lambda: entries_open(installation) == opened)


# The client leaves


class Leaver:
    """A client that can leave at any moment."""

    def __init__(self, installation: Installation, token: Token, method: str, path: str, more: str) -> None:
        url = urlsplit(installation.proxy_urls[0])
        self.socket = socket.create_connection((url.hostname, url.port), timeout=10)
        head = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {token.secret}\r\n{more}\r\n"
        self.socket.sendall(head.encode())

    def leave(self) -> None:
        self.socket.close()


def test_a_client_that_leaves_before_the_first_byte_ends_the_work_at_the_provider(
    installation: Installation, token: Token
) -> None:
    opened, left = entries_open(installation), installation.ledger()["disconnected"]
    client = Leaver(installation, token, "GET", "/v1/models", 'x-mock-behaviour: {"latency_ms": 60000}\r\n')
    until(lambda: entries_open(installation) == opened + 1)

    client.leave()

    until(lambda: installation.ledger()["disconnected"] == left + 1)
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["status"], row["response_bytes"]) == ("client_aborted", 0, 0)


def test_a_client_that_leaves_while_a_retry_is_due_is_not_retried_for(installation: Installation, token: Token) -> None:
    before = installation.ledger()["requests"]
    busy = behaving(error_rate=1, error_status=503, retry_after_s=4)["x-mock-behaviour"]
    client = Leaver(installation, token, "GET", "/v1/models", f"x-mock-behaviour: {busy}\r\n")
    until(lambda: "attempt_failed" in installation.logs("proxy-0") and installation.ledger()["requests"] == before + 1)

    left = time.monotonic()
    client.leave()

    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["status"], row["attempts"]) == ("client_aborted", 0, 1)
    assert time.monotonic() - left < 3, "it is over when the client leaves, not when the retry is due"
    assert installation.ledger()["requests"] == before + 1


def test_a_client_that_leaves_while_it_uploads_ends_the_upload_at_the_provider(
    installation: Installation, token: Token
) -> None:
    left = installation.ledger()["disconnected"]
    client = Leaver(installation, token, "POST", "/v1/uploads/one/parts", "Content-Length: 9000000\r\n")
    client.socket.sendall(b"x" * 1_000_000)
    until(lambda: [e for e in installation.ledger()["recent"][-1:] if e["request_bytes"] == 1_000_000])

    client.leave()

    until(lambda: installation.ledger()["disconnected"] == left + 1)
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["status"], row["request_bytes"]) == ("client_aborted", 0, 1_000_000)


# WebSockets


def realtime(installation: Installation, token: Token, path: str = "/v1/realtime?model=gpt-realtime") -> Socket:
    url = urlsplit(installation.proxy_urls[0])
    return Socket(url.netloc, path, [(b"authorization", f"Bearer {token.secret}".encode())], [])


def test_a_realtime_conversation_is_passed_on_and_metered(installation: Installation, token: Token) -> None:
    talk, spent = realtime(installation, token), []
    talk.hear("session.created")
    for text in ("hello there", "and again"):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        talk.say({"type": "conversation.item.create", "item": item})
        talk.say({"type": "response.create"})
        spent.append(talk.hear("response.done")[-1]["response"]["usage"])
    talk.close()

    [row] = installation.usage_of(token, 1)

    assert (row["route"], row["status"], row["outcome"]) == ("realtime", 101, "finished")
    assert row["total_tokens"] == sum(usage["total_tokens"] for usage in spent) > 0
    assert row["completion_tokens"] == sum(usage["output_tokens"] for usage in spent)
    assert row["request_bytes"] > 0 and row["response_bytes"] > 0


def test_revoking_closes_a_websocket_within_a_second(installation: Installation, token: Token) -> None:
    talk = realtime(installation, token)
    talk.hear("session.created")

    installation.manage("DELETE", f"/manage/tokens/{token.id}")
    answered = time.monotonic()
    end = talk.event()

    assert time.monotonic() - answered < CUT_SECONDS
    assert isinstance(end, events.CloseConnection) and end.code == 1008
    talk.drop()
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["error_code"]) == ("cut", "token_inactive")


def test_other_routes_do_not_become_websockets(installation: Installation, token: Token) -> None:
    refused = realtime(installation, token, "/v1/models")
    refused.drop()

    assert refused.refusal is not None and refused.refusal[0] == 400
    assert json.loads(refused.refusal[1])["error"]["code"] == "invalid_request"
