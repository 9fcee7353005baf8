"""What an answer used is found in each dialect, whole or in events."""

import json
from typing import Any

import pytest

from manager.mock_provider.answers.question import Question
from manager.mock_provider.answers.told import Used, used_in
from manager.mock_provider.routes import find

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "one two three"}]}
RESPONSES: dict[str, Any] = {"input": "one two three"}
USAGE_ASKED = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True, **USAGE_ASKED}),
        ("/v1/messages", {**CHAT, "max_tokens": 9}),
        ("/v1/messages", {**CHAT, "max_tokens": 9, "stream": True}),
        ("/v1/responses", RESPONSES),
        ("/v1/responses", {**RESPONSES, "stream": True}),
        ("/v1/completions", {"prompt": "one two three"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_an_answer_tells_what_it_used(path: str, fields: dict[str, Any]) -> None:
    answer = find("POST", path).answer(Question({"model": "m", **fields}, "1"))

    assert isinstance(answer, bytes | list)
    assert used_in(answer) == Used(3, 5)


def test_embeddings_have_no_completion() -> None:
    answer = find("POST", "/v1/embeddings").answer(Question({"model": "m", "input": "one two"}, "1"))

    assert isinstance(answer, bytes)
    assert used_in(answer) == Used(2, 0)


def test_a_stream_that_was_not_asked_tells_nothing() -> None:
    answer = find("POST", "/v1/chat/completions").answer(Question({"model": "m", **CHAT, "stream": True}, "1"))

    assert isinstance(answer, list)
    assert used_in(answer) is None


@pytest.mark.parametrize("answer", [{}, {"usage": None}, {"response": "text"}, {"message": {"role": "user"}}])
def test_an_answer_without_usage_tells_nothing(answer: dict[str, Any]) -> None:
    assert used_in(json.dumps(answer).encode()) is None
