"""An answer remembered is the answer worked out anew, but for its number."""

import json
from typing import Any

import pytest

from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.repertoire import Repertoire, Worked
from manager.mock_provider.routes import Route, find

CHAT = find("POST", "/v1/chat/completions")


def question(said: str = "hi", **more: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": said}], **more}).encode()


def test_the_same_question_is_worked_out_once() -> None:
    asked: list[str] = []

    def answer(question: Question) -> bytes:
        asked.append(question.number)
        return b'{"id":"%b"}' % question.number.encode()

    route = Route("POST", answer)
    answers = Repertoire()

    first, again = (answers.answer(route, b"{}", None, number) for number in (7, 8))

    assert (first, again) == (Worked(None, b'{"id":"7"}'), Worked(None, b'{"id":"8"}'))
    assert len(asked) == 1


@pytest.mark.parametrize("chunks", [None, 3, 1000])
@pytest.mark.parametrize("said", ["hi", "long " * 5000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_remembered_answer_is_no_different(stream: bool, said: str, chunks: int | None) -> None:
    answers, body = Repertoire(), question(said, stream=stream)
    answers.answer(CHAT, body, chunks, 1)

    assert answers.answer(CHAT, body, chunks, 2) == Repertoire().answer(CHAT, body, chunks, 2)


def test_the_model_is_told_and_routes_without_a_question_have_none() -> None:
    assert Repertoire().answer(CHAT, question(), None, 1)[0] == "gpt-4o"
    assert Repertoire().answer(find("GET", "/v1/models"), b"ignored", None, 1)[0] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_what_is_no_json_object_is_refused_each_time(body: bytes) -> None:
    answers = Repertoire()

    for number in (1, 2):
        with pytest.raises(ProviderError) as refused:
            answers.answer(CHAT, body, None, number)
        assert refused.value.status == 400
