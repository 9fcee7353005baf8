"""The control endpoints: what they read, set and refuse."""

import json
from typing import Any

import pytest

from manager.mock_provider import control
from manager.mock_provider.answers.told import Used
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.keys import presented
from manager.mock_provider.ledger import Outcome
from manager.mock_provider.provider import Provider


@pytest.fixture
def provider() -> Provider:
    return Provider(Behaviour(latency_ms=5), frozenset())


def told(provider: Provider, method: str, name: str, body: bytes = b"") -> tuple[int, Any]:
    reply = control.reply(provider, method, control.PREFIX + name, body)
    return reply.status, json.loads(reply.pieces[0])


def test_the_behaviour_is_read_and_replaced_as_a_whole(provider: Provider) -> None:
    assert told(provider, "GET", "behaviour") == (200, Behaviour(latency_ms=5).as_dict())

    answer = told(provider, "PUT", "behaviour", b'{"chunks": 4}')

    assert answer == (200, Behaviour(chunks=4).as_dict())
    assert provider.behaviour == Behaviour(chunks=4)


def test_a_reset_goes_back_to_the_behaviour_of_the_start(provider: Provider) -> None:
    told(provider, "PUT", "behaviour", b'{"chunks": 4}')

    assert told(provider, "DELETE", "behaviour") == (200, Behaviour(latency_ms=5).as_dict())


def test_a_key_is_set_replaced_and_forgotten_and_never_shown(provider: Provider) -> None:
    told(provider, "PUT", "keys", b'{"key": "sk-first-key-0001", "status": 401, "retry_after_s": 1}')
    told(provider, "PUT", "keys", b'{"key": "sk-other-key-0002", "rate": 2}')

    status, answer = told(provider, "PUT", "keys", b'{"key": "sk-first-key-0001", "status": 503}')

    shown = [{"key": "sk-o****0002", "rate": 2}, {"key": "sk-f****0001", "status": 503}]
    assert status == 200 and sorted(answer["keys"], key=str, reverse=True) == sorted(shown, key=str, reverse=True)
    assert told(provider, "DELETE", "keys", b'{"key": "sk-first-key-0001"}') == (200, {"forgotten": 1})
    assert told(provider, "GET", "keys") == (200, {"keys": shown[:1]})
    assert told(provider, "DELETE", "keys") == (200, {"forgotten": 1})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"key": ""}', b'{"key": "sk-1", "status": 200}', b'{"key": "sk-1", "stat": 401}']
)
def test_a_flawed_key_is_refused(provider: Provider, body: bytes) -> None:
    assert told(provider, "PUT", "keys", body)[0] == 400
    assert told(provider, "GET", "keys") == (200, {"keys": []})


@pytest.mark.parametrize("body", [b"", b"[]", b'{"chunks": 0}', b'{"chunk": 1}'])
def test_a_flawed_behaviour_changes_nothing(provider: Provider, body: bytes) -> None:
    status, answer = told(provider, "PUT", "behaviour", body)

    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert provider.behaviour == Behaviour(latency_ms=5)


def test_the_ledger_is_read_and_reset(provider: Provider) -> None:
    provider.ledger.open("GET", "/v1/models", presented([]))
    assert told(provider, "GET", "ledger")[1]["requests"] == 1

    status, answer = told(provider, "DELETE", "ledger")

    assert (status, answer["requests"], answer["recent"], answer["held"]) == (200, 0, [], 0)


def test_what_answers_have_used_is_read(provider: Provider) -> None:
    entry = provider.ledger.open("POST", "/v1/completions", presented([]))
    entry.used = Used(3, 5)
    provider.ledger.close(entry, Outcome.FINISHED)

    answer = told(provider, "GET", "answered")

    assert answer == (200, {"answered": {"req_mock_1": {"prompt_tokens": 3, "completion_tokens": 5}}})


@pytest.mark.parametrize("body", [b"", b"{}", b'{"count": null}', b'{"count": 3}'])
def test_a_release_tells_how_many_streams_were_held(provider: Provider, body: bytes) -> None:
    assert told(provider, "POST", "release", body) == (200, {"released": 0})


@pytest.mark.parametrize("body", [b'{"count": 0}', b'{"count": true}', b'{"count": "1"}', b"[1]", b"{"])
def test_a_flawed_release_is_refused(provider: Provider, body: bytes) -> None:
    assert told(provider, "POST", "release", body)[0] == 400


def test_an_unknown_name_is_not_found(provider: Provider) -> None:
    assert told(provider, "GET", "secrets")[0] == 404


@pytest.mark.parametrize(
    ("method", "name", "allowed"),
    [("POST", "ledger", b"GET, DELETE"), ("POST", "behaviour", b"GET, PUT, DELETE"), ("GET", "release", b"POST")],
)
def test_the_wrong_method_is_told_the_right_ones(
    provider: Provider,
    method: str,
    name: str,
    allowed: bytes,
) -> None:
    reply = control.reply(provider, method, control.PREFIX + name, b"")

    assert (reply.status, dict(reply.headers)[b"allow"]) == (405, allowed)
