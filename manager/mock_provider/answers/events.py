"""Server-sent events as OpenAI and Anthropic write them."""

from typing import Any

import orjson

CREATED = 1_735_689_600
DONE = b"data: [DONE]\n\n"


def unnamed(payload: Any) -> bytes:
    """``data: {...}`` and an empty line."""
    return b"data: %b\n\n" % orjson.dumps(payload)


def named(payload: dict[str, Any]) -> bytes:
    """``event: <its type>``, ``data: {...}`` and an empty line."""
    return b"event: %b\n%b" % (payload["type"].encode(), unnamed(payload))
