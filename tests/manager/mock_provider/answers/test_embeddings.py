"""Embeddings: unit vectors that follow from the text alone."""

import base64
import json
import math
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from manager.mock_provider.answers import embeddings
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError


def ask(**more: Any) -> Any:
    return json.loads(embeddings.answer(Question({"model": "m", "input": ["one two", "three"], **more}, "7")))


def test_an_answer_has_everything_the_sdk_declares() -> None:
    answer = CreateEmbeddingResponse.model_validate_json(json.dumps(ask()), strict=True)

    assert [entry.index for entry in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 3)


@pytest.mark.parametrize("dimensions", [1, 8, 1536])
def test_vectors_have_the_asked_dimensions_and_length_one(dimensions: int) -> None:
    vector = ask(dimensions=dimensions)["data"][0]["embedding"]

    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


def test_the_same_text_has_the_same_vector_and_another_text_another() -> None:
    first, second = (entry["embedding"] for entry in ask()["data"])

    assert ask(input="one two")["data"][0]["embedding"] == first != second


def test_base64_is_the_same_vector_in_little_endian_float32() -> None:
    encoded = ask(encoding_format="base64")["data"][0]["embedding"]
    numbers = ask()["data"][0]["embedding"]

    assert list(struct.unpack("<16f", base64.b64decode(encoded))) == pytest.approx(numbers)


@pytest.mark.parametrize(
    "flaw",
    [{"input": None}, {"encoding_format": "hex"}, {"dimensions": 0}, {"model": None}],
)
def test_a_flawed_question_is_refused(flaw: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        ask(**flaw)
