"""The WebSocket over real connections: admitted or refused, talked to, closed by either side, noted."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from wsproto import events

DONE = "response.done"


def test_a_conversation_is_held_and_noted(remote: Any, eventually: Callable[..., None]) -> None:
    socket = remote.socket()
    heard = socket.hear()

    socket.say({"type": "session.update", "session": {}})
    heard += socket.hear()
    socket.say({"type": "response.create"})
    heard += socket.hear(DONE)
    socket.close()

    assert [event["type"] for event in heard[:3]] == ["session.created", "session.updated", "response.created"]
    assert heard[-1]["response"]["usage"]["output_tokens"] > 0
    eventually(lambda: remote.last()["outcome"] == "finished")
    seen = remote.last()
    assert (seen["path"], seen["model"], seen["status"]) == ("/v1/realtime", "gpt-realtime", 101)
    assert (seen["key"], seen["stream"]) == ("sk-p****cdef", True)
    assert (seen["events_received"], seen["events_sent"]) == (2, len(heard))
    asked = '{"type": "session.update", "session": {}}{"type": "response.create"}'
    assert seen["request_sha256"] == hashlib.sha256(asked.encode()).hexdigest()


@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/v1/realtime?model=m", {"authorization": ""}, 401, "invalid_api_key"),
        ("/v1/realtime?model=m", {"authorization": "Bearer sk-llmp-123456"}, 401, "withering_token_leaked"),
        ("/v1/realtime", {}, 400, None),
        ("/v1/models", {}, 404, "unknown_url"),
        ("/v1/realtime?model=m", {"x_mock_behaviour": '{"status": 429}'}, 429, "rate_limit_exceeded"),
    ],
    ids=["no key", "leaked token", "no model", "other path", "by behaviour"],
)
def test_a_handshake_is_refused_as_a_request_is(
    remote: Any, target: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    refused = remote.socket(target, **headers).refusal

    assert refused is not None and refused[0] == status
    assert json.loads(refused[1])["error"]["code"] == code
    assert (remote.last()["status"], remote.last()["outcome"]) == (status, "finished")


def test_a_handshake_may_be_answered_without_a_body(remote: Any) -> None:
    assert remote.socket(x_mock_behaviour='{"status": 204}').refusal == (204, b"")


def test_a_browser_sends_its_key_as_a_subprotocol(remote: Any) -> None:
    offers = ["realtime", "openai-insecure-api-key.sk-browser-key-1234"]

    socket = remote.socket(subprotocols=offers, authorization="")

    assert (socket.refusal, socket.subprotocol) == (None, "realtime")
    assert remote.last()["key"] == "sk-b****1234"


@pytest.mark.parametrize("message", ["nonsense", "[]", "{}", {"type": 5}, {"type": "mock.close", "code": 1}])
def test_what_is_no_event_is_told_so_and_the_talk_goes_on(remote: Any, message: Any) -> None:
    socket = remote.socket()
    socket.hear()

    socket.say(message)

    assert socket.hear()[0]["type"] == "error"
    socket.say({"type": "response.create"})
    assert socket.hear(DONE)


def test_it_closes_on_demand(remote: Any, eventually: Callable[..., None]) -> None:
    socket = remote.socket()
    socket.hear()

    socket.say({"type": "mock.close", "code": 4001, "reason": "enough"})

    closed = socket.event()
    assert isinstance(closed, events.CloseConnection) and (closed.code, closed.reason) == (4001, "enough")
    eventually(lambda: remote.last()["outcome"] == "finished")


@pytest.mark.parametrize(
    ("behaviour", "last_words"),
    [("{}", {"type": "mock.abort"}), ('{"abort_rate": 1}', {"type": "response.create"})],
    ids=["on demand", "by chance"],
)
def test_it_is_dropped_without_a_close_frame(
    remote: Any, eventually: Callable[..., None], behaviour: str, last_words: Any
) -> None:
    socket = remote.socket(x_mock_behaviour=behaviour)
    socket.hear()

    socket.say(last_words)

    with pytest.raises(ConnectionError):
        socket.hear(DONE)
    eventually(lambda: remote.last()["outcome"] == "aborted")


@pytest.mark.parametrize("interval", [0, 60_000])
def test_a_client_that_leaves_is_noticed(remote: Any, eventually: Callable[..., None], interval: int) -> None:
    socket = remote.socket(x_mock_behaviour=json.dumps({"chunk_interval_ms": interval}))
    socket.hear()
    if interval:
        socket.say({"type": "response.create"})
        socket.hear()

    socket.drop()

    eventually(lambda: remote.ledger()["disconnected"] == 1)
