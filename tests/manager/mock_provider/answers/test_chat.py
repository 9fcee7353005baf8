"""Chat answers, plain and streamed, as OpenAI shapes them."""

import json
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from manager.mock_provider.answers import chat
from manager.mock_provider.answers.question import Question


def ask(chunks: int | None = None, **more: Any) -> Any:
    fields = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi there"}], **more}
    return chat.answer(Question(fields, "7", chunks))


def stream(chunks: int | None = None, **more: Any) -> list[dict[str, Any]]:
    events = ask(chunks, stream=True, **more)
    assert events[-1] == b"data: [DONE]\n\n"
    assert all(event.startswith(b"data: {") and event.endswith(b"}\n\n") for event in events[:-1])
    return [json.loads(event[6:]) for event in events[:-1]]


def test_a_plain_answer_has_everything_the_sdk_declares() -> None:
    answer = ChatCompletion.model_validate_json(ask(), strict=True)

    assert (answer.id, answer.model) == ("chatcmpl-mock-7", "gpt-4o")
    assert answer.choices[0].message.content == "You said: hi there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens == 2 + 4


def test_every_chunk_has_everything_the_sdk_declares() -> None:
    for chunk in stream(stream_options={"include_usage": True}):
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    chunks = stream()

    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [c["choices"][0]["delta"]["content"] for c in chunks[1:-1]] == ["You", " said:", " hi", " there"]
    assert (chunks[-1]["choices"][0]["delta"], chunks[-1]["choices"][0]["finish_reason"]) == ({}, "stop")
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_comes_last_and_alone_when_asked_for() -> None:
    *chunks, last = stream(stream_options={"include_usage": True})

    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (2, 4)


def test_obfuscation_stands_in_every_chunk_behind_the_usage_when_asked_for() -> None:
    plain = stream(stream_options={"include_usage": True})
    padded = stream(stream_options={"include_usage": True, "include_obfuscation": True})

    assert all(list(chunk)[-2:] == ["usage", "obfuscation"] and chunk.pop("obfuscation") for chunk in padded)
    assert padded == plain


def test_plain_and_streamed_answers_are_the_same_words() -> None:
    plain = json.loads(ask())["choices"][0]["message"]["content"]

    assert "".join(c["choices"][0]["delta"].get("content", "") for c in stream()) == plain


def test_a_limit_cuts_the_answer_and_says_so() -> None:
    for limit in ({"max_tokens": 2}, {"max_completion_tokens": 2, "max_tokens": 9}):
        answer = json.loads(ask(**limit))

        assert answer["choices"][0]["message"]["content"] == "You said:"
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 2
    assert stream(max_tokens=1)[-1]["choices"][0]["finish_reason"] == "length"


def test_several_choices_are_told_apart_and_all_paid_for() -> None:
    answer = json.loads(ask(n=3))

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12
    assert [c["choices"][0]["index"] for c in stream(n=2)] == [0, 1] * 6


def test_the_number_of_content_chunks_can_be_set_for_streams_alone() -> None:
    contents = [c for c in stream(chunks=50) if c["choices"][0]["delta"].get("content")]

    assert len(contents) == 50
    assert json.loads(ask(chunks=50))["usage"]["completion_tokens"] == 4
