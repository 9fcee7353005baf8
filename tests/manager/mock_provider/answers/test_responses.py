"""The Responses API, plain and streamed."""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from manager.mock_provider.answers import responses
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def ask(**more: Any) -> Any:
    return responses.answer(Question({"model": "m", "input": "hi there", **more}, "7"))


def stream(**more: Any) -> list[dict[str, Any]]:
    events = []
    for event in ask(stream=True, **more):
        name, payload = event.decode().removesuffix("\n\n").split("\n")
        events.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_plain_answer_has_everything_the_sdk_declares() -> None:
    answer = Response.model_validate_json(ask())

    assert (answer.id, answer.status, answer.output_text) == (
        "resp_mock_7",
        "completed",
        "You said: hi there",
    )
    assert answer.usage and (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 4)


def test_every_event_has_everything_the_sdk_declares() -> None:
    for event in stream():
        EVENT.validate_json(json.dumps(event))


def test_the_events_come_in_openais_order() -> None:
    events = stream()

    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_last_event_is_the_plain_answer() -> None:
    assert stream()[-1]["response"] == json.loads(ask())


def test_an_answer_cut_by_its_limit_is_incomplete() -> None:
    answer = json.loads(ask(max_output_tokens=2))

    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert stream(max_output_tokens=2)[-1]["type"] == "response.incomplete"


def test_input_may_be_a_list_of_messages_and_instructions_count_too() -> None:
    messages = [{"role": "user", "content": [{"type": "input_text", "text": "good day"}]}]

    answer = json.loads(ask(input=messages, instructions="be very brief"))

    assert answer["output"][0]["content"][0]["text"] == "You said: good day"
    assert (answer["instructions"], answer["usage"]["input_tokens"]) == ("be very brief", 5)


@pytest.mark.parametrize("given", [None, [], 5, ["hi"]])
def test_an_input_is_needed(given: Any) -> None:
    with pytest.raises(ProviderError) as refused:
        ask(input=given)

    assert refused.value.param == "input"
