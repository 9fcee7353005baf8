"""Operators make rules and decide about held requests: on all workers at once, and the provider gets what they say."""

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from shared import flow_schema, redis_schema, rules_schema
from shared.flow_schema import FlowRecord, decode_record, held_key
from shared.redis_schema import ControlMessage, Decided, RulesChanged
from shared.rules_schema import Action, OnDeadline, Rule, RuleSet, encode_rules
from tests.journeys.conftest import Installation, Token, kill, until
from tests.journeys.test_live import in_flight
from tests.journeys.test_resilience import CHAT, CUT_SECONDS, Asked
from tests.journeys.test_workers import DRAIN_SECONDS, Proxy
from tests.journeys.test_workers import proxy as proxy  # a fixture

CHANGE_SECONDS = 2.0


class Rules:
    """Publishes rules and decisions by the contract."""

    def __init__(self, installation: Installation) -> None:
        self._client = installation.redis()
        self._urls = list(installation.proxy_urls)
        self._token = installation.token(installation.project(f"rules-{time.time_ns()}"))
        self._version = time.time_ns() // 1_000_000

    def set(self, *rules: Rule, url: str = "") -> None:
        """Put rules in force, and wait until every worker has them; also those that share another address."""
        self._version += 1
        mark = Rule("0", "mark", f"~u /mark-{self._version}$", Action.DENY, self._token.project_id)
        self._client.set(rules_schema.RULES, encode_rules(RuleSet(self._version, [mark, *rules])))
        self._tell(RulesChanged(self._version))
        for each in [*self._urls, *[url] * 16] if url else self._urls:
            until(lambda each=each: self._is_in_force(each), CHANGE_SECONDS)  # type: ignore[misc]

    def _is_in_force(self, url: str) -> bool:
        headers = {"authorization": f"Bearer {self._token.secret}"}
        return requests.get(f"{url}/v1/models/mark-{self._version}", headers=headers, timeout=20).status_code == 403

    def shown(self, request_id: str) -> FlowRecord:
        found = until(lambda: self._client.get(held_key(request_id)))
        assert isinstance(found, bytes)
        return decode_record(found)

    def resume(self, request_id: str, body: bytes | None = None) -> None:
        if body is not None:
            self._client.set(flow_schema.edit_key(request_id), body, px=flow_schema.DECIDED_MS)
        self._tell(Decided(request_id, "resume", body is not None))

    def refuse(self, request_id: str) -> None:
        self._tell(Decided(request_id, "refuse"))

    def _tell(self, message: ControlMessage) -> None:
        self._client.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(message))

    def close(self) -> None:
        self.set()
        self._client.close()


@pytest.fixture
def rules(installation: Installation) -> Iterator[Rules]:
    made = Rules(installation)
    yield made
    made.close()


@pytest.fixture
def token(installation: Installation, request: pytest.FixtureRequest) -> Token:
    return installation.token(installation.project(request.node.name), label="nightly")


def holding(token: Token, seconds: int = 60, on_deadline: OnDeadline = OnDeadline.REFUSE) -> Rule:
    return Rule("1", "look first", "~u chat", Action.HOLD, token.project_id, "", seconds, on_deadline)


def asked(installation: Installation, token: Token, worker: int, content: str = "hello") -> requests.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
    return installation.send(token.secret, "POST", CHAT, worker, json=body)


def held(installation: Installation, token: Token, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]] | None:
        seen = [each for each in in_flight(installation, token) if each["state"] == "held"]
        return seen if len(seen) == count else None

    return until(found) or []


def test_a_change_of_rules_is_in_force_on_all_workers_at_once(
    installation: Installation, token: Token, rules: Rules
) -> None:
    def code(worker: int) -> str | None:
        got = asked(installation, token, worker, "a secret")
        return None if got.status_code == 200 else str(got.json()["error"]["code"])

    rules.set(Rule("1", "no secrets", "~bq secret", Action.DENY))
    assert [code(0), code(1), code(0), code(1)] == ["request_denied"] * 4
    rules.set()
    assert [code(0), code(1), code(0), code(1)] == [None] * 4
    assert installation.metric("llm_proxy_rule_hits_total", 0, action="deny", rule="no secrets") >= 1


def test_a_request_held_on_another_worker_is_edited_and_the_provider_gets_that(
    installation: Installation, token: Token, rules: Rules
) -> None:
    rules.set(holding(token))
    waiting = Asked(installation, token, worker=1)
    [seen] = held(installation, token)
    before = chats(installation)
    body = json.loads(rules.shown(seen["request_id"]).request.body or b"")
    assert body["messages"][0]["content"] == "tell me about it"

    edited = json.dumps({**body, "model": "gpt-4o", "stream": False}).encode()
    rules.resume(seen["request_id"], edited)
    waiting.join()

    assert waiting.status == 200 and json.loads(waiting.content)["model"].startswith("gpt-4o")
    assert "mini" not in json.loads(waiting.content)["model"]
    [received] = chats(installation) - before
    assert received[1] == hashlib.sha256(edited).hexdigest()
    [row] = installation.usage_of(token, 1)
    assert (row["model_asked"], row["is_stream"], row["outcome"]) == ("gpt-4o", False, "finished")


@pytest.mark.parametrize("on_deadline", list(OnDeadline), ids=str)
def test_nobody_hangs_when_nobody_decides(
    installation: Installation, token: Token, rules: Rules, on_deadline: OnDeadline
) -> None:
    rules.set(holding(token, 1, on_deadline))
    got = asked(installation, token, 0)

    assert 0.9 < got.elapsed.total_seconds() < 3
    if on_deadline is OnDeadline.RELEASE:
        assert got.status_code == 200
    else:
        assert (got.status_code, got.json()["error"]["code"]) == (403, "hold_expired")


def test_a_held_request_is_cut_and_another_refused(installation: Installation, token: Token, rules: Rules) -> None:
    before = chats(installation)
    rules.set(holding(token))
    waiting = [Asked(installation, token, worker) for worker in (0, 1)]
    first, second = held(installation, token, 2)

    installation.manage("POST", f"/manage/live/{first['request_id']}/cut")
    rules.refuse(second["request_id"])
    decided = time.monotonic()
    codes = {each.join().code() for each in waiting}

    assert codes == {"request_cut", "request_refused"} and not chats(installation) - before
    assert max(each.ended for each in waiting) - decided < CUT_SECONDS


def test_what_earlier_rules_tagged_is_seen_by_later_ones_and_by_who_decides(
    installation: Installation, token: Token, rules: Rules
) -> None:
    tagging = Rule("1", "mark", "~bq about", Action.TAG, token.project_id, "clinic")
    keeping = Rule("2", "look first", "~comment tag=clinic", Action.HOLD, token.project_id)
    rules.set(tagging, keeping)
    assert asked(installation, token, 0, "hello").status_code == 200
    waiting = Asked(installation, token)
    [seen] = held(installation, token)

    shown = rules.shown(seen["request_id"])
    rules.resume(seen["request_id"])

    assert (shown.tags, shown.rule) == (["clinic"], "look first")
    assert waiting.join().status == 200


def test_what_a_client_left_while_it_was_held_never_goes_out(
    installation: Installation, token: Token, rules: Rules
) -> None:
    rules.set(holding(token))
    before = chats(installation)
    address = urlsplit(installation.proxy_urls[1])
    body = b'{"model":"gpt-4o-mini","messages":[]}'
    head = f"POST {CHAT} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {token.secret}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(head.encode() + body)
        [seen] = held(installation, token)
    left = time.monotonic()
    until(lambda: not in_flight(installation, token))
    assert time.monotonic() - left < CUT_SECONDS + 1  # Workers tell of it once a second.

    rules.resume(seen["request_id"])

    [row] = installation.usage_of(token, 1)
    assert (row["request_id"], row["outcome"], row["status"]) == (seen["request_id"], "client_aborted", 0)
    assert not chats(installation) - before


def test_revoking_a_token_ends_what_is_held_of_it(installation: Installation, token: Token, rules: Rules) -> None:
    rules.set(holding(token))
    before = chats(installation)
    waiting = Asked(installation, token, worker=1)
    held(installation, token)

    installation.manage("DELETE", f"/manage/tokens/{token.id}")
    revoked = time.monotonic()
    waiting.join()

    assert (waiting.status, waiting.code()) == (401, "token_inactive")
    assert waiting.ended - revoked < CUT_SECONDS and not chats(installation) - before


def test_a_pattern_that_ruins_other_engines_costs_nothing(
    installation: Installation, token: Token, rules: Rules
) -> None:
    ruinous = Rule("1", "ruinous", "~bq '(a+)+$' | ~bq '(a|a)*b$'", Action.DENY, token.project_id)
    rules.set(ruinous)

    short, long = (asked(installation, token, 0, "a" * size) for size in (28, 200_000))

    assert (short.status_code, long.status_code) == (200, 200)
    assert short.elapsed.total_seconds() < 0.5 and long.elapsed.total_seconds() < 1


def test_a_hundred_held_at_once_are_all_released(installation: Installation, token: Token, rules: Rules) -> None:
    rules.set(holding(token))
    waiting = [Asked(installation, token, worker=number % 2) for number in range(100)]
    seen = held(installation, token, 100)
    assert sum(installation.metric("llm_proxy_requests_held", worker) for worker in (0, 1)) == 100

    for each in seen:
        rules.resume(each["request_id"])

    assert {each.join().status for each in waiting} == {200}
    assert until(lambda: not sum(installation.metric("llm_proxy_requests_held", worker) for worker in (0, 1)))


@pytest.mark.parametrize("runner", ["engine"], indirect=True, scope="session")
def test_a_worker_that_ends_refuses_what_it_holds(installation: Installation, proxy: Proxy, rules: Rules) -> None:
    rules.set(holding(proxy.token, 600), url=f"http://127.0.0.1:{proxy.port}")
    waiting = Asked(installation, proxy.token, url=f"http://127.0.0.1:{proxy.port}")
    held(installation, proxy.token)

    os.kill(proxy.pid, signal.SIGTERM)
    stopped = time.monotonic()
    waiting.join()

    assert (waiting.status, waiting.code()) == (503, "service_unavailable")
    assert waiting.ended - stopped < DRAIN_SECONDS + 3


@pytest.mark.parametrize("runner", ["engine"], indirect=True, scope="session")
def test_what_a_killed_worker_held_is_over(installation: Installation, proxy: Proxy, rules: Rules) -> None:
    before = chats(installation)
    rules.set(holding(proxy.token, 600), url=f"http://127.0.0.1:{proxy.port}")
    waiting = Asked(installation, proxy.token, url=f"http://127.0.0.1:{proxy.port}")
    [seen] = held(installation, proxy.token)

    for worker in proxy.workers():
        kill(worker)
    waiting.join()
    rules.resume(seen["request_id"])

    assert waiting.error and until(lambda: not in_flight(installation, proxy.token))
    assert not chats(installation) - before


def chats(installation: Installation) -> set[tuple[str, str]]:
    """Id and digest of the chats that the provider has seen of late; jobs ask it for other things meanwhile."""
    seen = [each for each in installation.ledger()["recent"] if each["path"].endswith("/chat/completions")]
    return {(each["id"], each["request_sha256"]) for each in seen}
