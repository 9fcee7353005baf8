"""A conversation without its connection: what the server says to which event."""

import json
from typing import Any

import pytest

from manager.mock_provider.answers.realtime import Conversation

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello you"}]}


def said(conversation: Conversation, **event: Any) -> list[dict[str, Any]]:
    return [json.loads(reaction) for reaction in conversation.reactions(event)]


def test_the_client_is_greeted_with_the_session() -> None:
    greeting = json.loads(Conversation("gpt-realtime", 7).opening())

    assert (greeting["type"], greeting["event_id"]) == ("session.created", "event_mock_7_1")
    assert (greeting["session"]["id"], greeting["session"]["model"]) == ("sess_mock_7", "gpt-realtime")


def test_a_response_is_told_in_deltas_and_ends_with_its_usage() -> None:
    conversation = Conversation("m", 1)
    said(conversation, type="conversation.item.create", item=HELLO)

    events = said(conversation, type="response.create")

    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.done")
    assert "".join(deltas) == "You said: hello you" and len(deltas) == 4
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (2, 4, 6)
    assert len({event["event_id"] for event in events}) == len(events)


def test_what_was_said_before_is_heard_again() -> None:
    conversation = Conversation("m", 1)
    said(conversation, type="response.create", response={"input": [HELLO]})

    again = said(conversation, type="response.create")

    assert again[-1]["response"]["usage"]["input_tokens"] == 2 + 4
    assert again[-1]["response"]["id"] == "resp_mock_1_2"


def test_the_number_of_deltas_can_be_set() -> None:
    events = said(Conversation("m", 1, chunks=50), type="response.create")

    assert sum(event["type"] == "response.output_text.delta" for event in events) == 50


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("session.update", "session.updated"),
        ("conversation.item.create", "conversation.item.created"),
        ("input_audio_buffer.commit", "input_audio_buffer.committed"),
        ("input_audio_buffer.append", "mock.acknowledged"),
        ("anything.else", "mock.acknowledged"),
    ],
)
def test_every_other_event_is_acknowledged_by_one(kind: str, answer: str) -> None:
    assert [event["type"] for event in said(Conversation("m", 1), type=kind)] == [answer]


@pytest.mark.parametrize("odd", [None, 5, {"input": 5}, {"input": [5, {"content": 5}]}])
def test_odd_fields_do_no_harm(odd: Any) -> None:
    assert said(Conversation("m", 1), type="response.create", response=odd)[-1]["type"] == "response.done"
    assert said(Conversation("m", 1), type="conversation.item.create", item=odd)


def test_a_fault_is_an_error_event() -> None:
    assert json.loads(Conversation("m", 1).fault("what?"))["error"]["message"] == "what?"
