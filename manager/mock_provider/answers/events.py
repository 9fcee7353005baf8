"""Server-sent events as OpenAI and Anthropic write them."""

from collections.abc import Iterable
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


def chunks(
    head: dict[str, Any], steps: Iterable[dict[str, Any]], usage: dict[str, Any] | None, *, obfuscated: bool
) -> list[bytes]:
    """The events of a stream with one choice each, as the chat and completion APIs have it.

    With ``usage`` all of them have a ``usage`` of null and one more, without choices, has it. If ``obfuscated`` all
    have a member more that hides the length of what they say.
    """
    more: dict[str, Any] = {"usage": None} if usage else {}
    events = [{**head, "choices": [step], **more} for step in steps]
    if usage:
        events.append({**head, "choices": [], "usage": usage})
    if obfuscated:
        events = [{**event, "obfuscation": "mock" * (1 + number % 4)} for number, event in enumerate(events)]
    return [*map(unnamed, events), DONE]
