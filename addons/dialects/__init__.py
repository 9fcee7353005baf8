"""How each provider speaks: its usage numbers, its model names, its error shape. Pure functions over bytes."""

from collections.abc import Callable

from addons.dialects import anthropic, openai
from addons.dialects.answer import Answer, Said

# A reading function takes what is known so far and one JSON document: a whole body, or the data of one SSE event. It
# adds the generated text in an event to what has been said.
Read = Callable[[Answer, bytes | bytearray, Said], Answer]

_READ: dict[str, Read] = {"openai": openai.read, "anthropic": anthropic.read}


def reading(dialect: str) -> Read | None:
    """Return the dialect's reading function; None for opaque dialects, whose answers are only counted."""
    return _READ.get(dialect)


def error_body(dialect: str, status: int, code: str, message: str, request_id: str, param: str | None = None) -> bytes:
    """Return an error as the provider's SDK expects it; opaque dialects get OpenAI's shape."""
    shape = anthropic.error_body if dialect == "anthropic" else openai.error_body
    return shape(status, code, message, request_id, param)


def error_event(dialect: str, status: int, code: str, message: str, request_id: str) -> bytes:
    """Return an error as the last event of a stream, as the provider's SDK expects it there."""
    name = b"event: error\n" if dialect == "anthropic" else b""
    return name + b"data: " + error_body(dialect, status, code, message, request_id) + b"\n\n"
