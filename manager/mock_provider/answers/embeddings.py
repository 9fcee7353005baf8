"""``POST /v1/embeddings``: vectors of length one that follow from the text alone."""

import base64
import hashlib
import math
import struct

import orjson

from manager.mock_provider.answers.question import Question, texts_and_tokens
from manager.mock_provider.errors import invalid

DIMENSIONS = 16
MAX_DIMENSIONS = 4096
_FORMATS = ("float", "base64")


def answer(question: Question) -> bytes:
    """A list of embeddings of ``dimensions`` (default 16) float32 values, as numbers or little-endian base64.

    Raises ProviderError 400 for a flawed question.
    """
    model, dimensions = question.model, question.number_of("dimensions", MAX_DIMENSIONS) or DIMENSIONS
    encoding = question.fields.get("encoding_format") or "float"
    if encoding not in _FORMATS:
        raise invalid("encoding_format", "'float' or 'base64'")
    texts, tokens = texts_and_tokens("input", question.required("input"))
    vectors = [_encoded(vector_of(text, dimensions), encoding) for text in texts]
    entries = [{"object": "embedding", "index": index, "embedding": v} for index, v in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": entries, "model": model, "usage": usage})


def vector_of(text: str, dimensions: int) -> bytes:
    """``dimensions`` little-endian float32 values with an Euclidean norm of one (to float32 precision)."""
    noise = hashlib.shake_256(text.encode()).digest(4 * dimensions)
    numbers = [number + 0.5 for number in struct.unpack(f"<{dimensions}i", noise)]
    norm = math.hypot(*numbers)
    return struct.pack(f"<{dimensions}f", *(number / norm for number in numbers))


def _encoded(vector: bytes, encoding: str) -> str | tuple[float, ...]:
    if encoding == "base64":
        return base64.b64encode(vector).decode()
    return struct.unpack(f"<{len(vector) // 4}f", vector)
