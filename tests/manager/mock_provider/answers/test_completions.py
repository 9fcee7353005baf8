"""Text completions, plain and streamed."""

import json
from typing import Any

import pytest
from openai.types import Completion

from manager.mock_provider.answers import completions
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError


def ask(**more: Any) -> Any:
    return completions.answer(Question({"model": "m", "prompt": "hi", **more}, "7"))


def test_a_plain_answer_has_everything_the_sdk_declares() -> None:
    answer = Completion.model_validate_json(ask(), strict=True)

    assert (answer.id, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "cmpl-mock-7",
        "You said: hi",
        "stop",
    )
    assert answer.usage and answer.usage.total_tokens == 4


def test_a_stream_ends_with_the_reason_and_the_usage() -> None:
    events = ask(stream=True, stream_options={"include_usage": True}, max_tokens=2)

    chunks = [json.loads(event[6:]) for event in events[:-1]]
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["You", " said:", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, "length"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 3
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 3)
    assert events[-1] == b"data: [DONE]\n\n"


def test_a_stream_without_that_wish_has_no_usage() -> None:
    assert not any(b"usage" in event for event in ask(stream=True))


def test_each_prompt_has_its_choices() -> None:
    answer = json.loads(ask(prompt=["one", "two"], n=2))

    assert [(c["index"], c["text"][-3:]) for c in answer["choices"]] == [
        (0, "one"),
        (1, "one"),
        (2, "two"),
        (3, "two"),
    ]
    assert answer["usage"]["completion_tokens"] == 12


def test_a_prompt_is_needed() -> None:
    with pytest.raises(ProviderError) as refused:
        ask(prompt=None)

    assert refused.value.param == "prompt"
