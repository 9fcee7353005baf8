"""What a request may ask for, and how a flawed one is refused."""

from typing import Any

import pytest

from manager.mock_provider.answers.question import (
    Question,
    heard_tokens,
    last_said,
    text_of,
    texts_and_tokens,
)
from manager.mock_provider.errors import ProviderError


def question(**fields: Any) -> Question:
    return Question(fields, "1")


def refusal(ask: Any) -> ProviderError:
    with pytest.raises(ProviderError) as refused:
        ask()
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": ""}, {"model": 4}])
def test_a_model_is_needed(fields: dict[str, Any]) -> None:
    assert "model" in refusal(lambda: question(**fields).model).message


@pytest.mark.parametrize("messages", [None, [], "hi", {}, ["hi"], [{"role": "user"}, 3]])
def test_messages_are_a_list_of_objects(messages: Any) -> None:
    assert refusal(lambda: question(messages=messages).messages()).param == "messages"


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_stream_is_a_boolean(value: Any) -> None:
    assert refusal(lambda: question(stream=value).stream).param == "stream"


@pytest.mark.parametrize(("value", "choices"), [(None, 1), (1, 1), (128, 128)])
def test_n_counts_the_choices(value: int | None, choices: int) -> None:
    assert question(n=value).choices == choices


@pytest.mark.parametrize("value", [0, -1, 129, 1.5, "2", True])
def test_n_is_a_small_whole_number(value: Any) -> None:
    assert refusal(lambda: question(n=value).choices).param == "n"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, False),
        ({"stream": True, "stream_options": None}, False),
        ({"stream": True, "stream_options": {}}, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True),
    ],
)
def test_usage_is_streamed_when_asked_for(fields: dict[str, Any], wanted: bool) -> None:
    assert question(**fields).include_usage is wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": [1]},
        {"stream": True, "stream_options": {"include_usage": "yes"}},
    ],
)
def test_flawed_stream_options_are_refused(fields: dict[str, Any]) -> None:
    refusal(lambda: question(**fields).include_usage)


@pytest.mark.parametrize(
    ("given", "texts", "tokens"),
    [
        ("one two", ["one two"], 2),
        (["one", "two three"], ["one", "two three"], 3),
        ([7, 8, 9], ["7 8 9"], 3),
        ([[7, 8], [9]], ["7 8", "9"], 3),
    ],
)
def test_texts_come_in_four_forms(given: Any, texts: list[str], tokens: int) -> None:
    assert texts_and_tokens("input", given) == (texts, tokens)


@pytest.mark.parametrize("given", [[], [[]], 5, {}, [None], ["one", 2], [True]])
def test_any_other_form_is_refused(given: Any) -> None:
    assert refusal(lambda: texts_and_tokens("input", given)).param == "input"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        (
            [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}, "x"],
            "one two",
        ),
        (None, ""),
        (5, ""),
    ],
)
def test_the_text_of_a_content_is_all_of_its_text_parts(content: Any, text: str) -> None:
    assert text_of(content) == text


def test_the_last_user_message_is_answered_and_all_are_counted() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": "second one"},
        {"role": "assistant", "content": "well"},
    ]

    assert last_said(messages) == "second one"
    assert heard_tokens(messages) == 4


def test_without_a_user_the_last_message_is_answered() -> None:
    assert last_said([{"role": "system", "content": "be kind"}]) == "be kind"
