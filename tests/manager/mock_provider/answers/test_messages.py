"""Anthropic's Messages API, plain and streamed."""

import json
from typing import Any

import pytest

from manager.mock_provider.answers import messages
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError


def ask(**more: Any) -> Any:
    fields = {
        "model": "claude",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi there"}],
        **more,
    }
    return messages.answer(Question(fields, "7"))


def stream(**more: Any) -> list[dict[str, Any]]:
    events = []
    for event in ask(stream=True, **more):
        name, payload = event.decode().removesuffix("\n\n").split("\n")
        events.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_plain_answer() -> None:
    answer = json.loads(ask(system="be brief"))

    assert (answer["id"], answer["type"], answer["role"]) == ("msg_mock_7", "message", "assistant")
    assert answer["content"] == [{"type": "text", "text": "You said: hi there"}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (4, 4)


def test_the_events_come_in_anthropics_order() -> None:
    events = stream()

    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 2
    deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(deltas) == "You said: hi there"
    assert (events[-2]["usage"], events[-2]["delta"]["stop_reason"]) == ({"output_tokens": 4}, "end_turn")


def test_a_limit_cuts_the_answer_and_says_so() -> None:
    answer = json.loads(ask(max_tokens=2))

    assert (answer["content"][0]["text"], answer["stop_reason"]) == ("You said:", "max_tokens")
    assert stream(max_tokens=2)[-2]["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
def test_all_three_parameters_are_needed(missing: str) -> None:
    with pytest.raises(ProviderError):
        ask(**{missing: None})
