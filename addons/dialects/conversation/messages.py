"""Anthropic's messages: blocks in, blocks out, and streams that build each block piece by piece."""

from collections.abc import Iterable
from typing import Any

from addons.dialects.conversation import pieces
from addons.dialects.conversation.plain import fields, items, number, text, word
from addons.dialects.conversation.turns import Turn, told, turn


def asked(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of a request."""
    system = pieces.blocks(document.get("system"))
    turns = [turn("system", system)] if system else []
    return turns + told(lambda each: _message(fields(each)), items(document.get("messages")))


def answered(document: dict[str, Any]) -> list[Turn]:
    """Return the turn of an answer."""
    return [_message(document)] if "content" in document else []


def ending(document: dict[str, Any]) -> str:
    """Return why the answer ended."""
    sequence = word(document.get("stop_sequence"))
    return ": ".join(each for each in (word(document.get("stop_reason")), sequence) if each)


def _message(said: dict[str, Any]) -> Turn:
    return turn(word(said.get("role")), pieces.blocks(said.get("content")))


# Streams

# The field of a delta that grows, and that of its block, by the delta's type.
_GROWING = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("partial_json", "input"),
}


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that the events of a stream would have been without streaming."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    grown: dict[tuple[int, str], list[str]] = {}
    for event in events:
        kind, place = text(event.get("type")), number(event.get("index"))
        if kind == "message_start":
            whole |= fields(event.get("message"))
        elif kind == "content_block_start":
            blocks[place] = fields(event.get("content_block"))
        elif kind == "content_block_delta":
            _grow(grown, place, fields(event.get("delta")))
        elif kind == "message_delta":
            whole |= {k: v for k, v in fields(event.get("delta")).items() if v is not None}
            whole["usage"] = fields(whole.get("usage")) | fields(event.get("usage"))
        elif kind == "error" or "error" in event:
            whole["error"] = event.get("error")
    places = sorted(blocks.keys() | {place for place, _ in grown})
    return whole | {"content": [_block(blocks.get(place, {}), grown, place) for place in places]}


def _grow(grown: dict[tuple[int, str], list[str]], place: int, delta: dict[str, Any]) -> None:
    kind = text(delta.get("type"))
    if kind in _GROWING:
        grown.setdefault((place, kind), []).append(text(delta.get(_GROWING[kind][0])))


def _block(begun: dict[str, Any], grown: dict[tuple[int, str], list[str]], place: int) -> dict[str, Any]:
    block = dict(begun)
    for kind, (_, name) in _GROWING.items():
        said = "".join(grown.get((place, kind), ()))
        if said:
            block[name] = text(block.get(name)) + said
            block.setdefault("type", {"input": "tool_use"}.get(name, name))
    return block
