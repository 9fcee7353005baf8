"""OpenAI's Responses API: items in, items out, and streams that name what each of their events adds to."""

from collections.abc import Iterable
from typing import Any

from addons.dialects.conversation import pieces
from addons.dialects.conversation.plain import fields, items, number, plain, text, word
from addons.dialects.conversation.turns import Block, Kind, Turn, told, turn


def asked(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of a request."""
    instructions = pieces.blocks(document.get("instructions"))
    turns = [turn("instructions", instructions)] if instructions else []
    given = document.get("input")
    if isinstance(given, str):
        return [*turns, turn("user", pieces.blocks(given))]
    return turns + told(lambda each: item(fields(each)), items(given))


def answered(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of an answer: one for each item of its output."""
    return told(lambda each: item(fields(each)), items(document.get("output")))


def ending(document: dict[str, Any]) -> str:
    """Return how the answer ended, and why."""
    reason = word(fields(document.get("incomplete_details")).get("reason"))
    return ": ".join(each for each in (word(document.get("status")), reason) if each)


def item(said: dict[str, Any]) -> Turn:
    """Return an item of an input or output as a turn."""
    kind = text(said.get("type"))
    if "role" in said:
        return turn(word(said["role"]), pieces.blocks(said.get("content")))
    if kind == "reasoning":
        return turn("assistant", _thoughts(said))
    return turn("tool" if kind.endswith("_output") else "assistant", pieces.part(said) if said else [])


def _thoughts(said: dict[str, Any]) -> list[Block]:
    thoughts = pieces.blocks(said.get("summary")) + pieces.blocks(said.get("content"))
    if not thoughts and text(said.get("encrypted_content")):
        return [Block(Kind.NOTE, "reasoning, encrypted")]
    return [Block(Kind.REASONING, thought.text) for thought in thoughts]


# Streams

# What grows by events that are named so, and as which part or field of its item it is shown.
_PARTS = {
    "response.output_text.delta": ("output_text", "text"),
    "response.refusal.delta": ("refusal", "refusal"),
    "response.reasoning_text.delta": ("reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary_text", "text"),
    "response.output_audio_transcript.delta": ("output_text", "text"),
    "response.audio.transcript.delta": ("output_text", "text"),
}
_FIELDS = {
    "response.function_call_arguments.delta": ("function_call", "arguments"),
    "response.custom_tool_call_input.delta": ("custom_tool_call", "input"),
    "response.mcp_call_arguments.delta": ("mcp_call", "arguments"),
    "response.code_interpreter_call_code.delta": ("code_interpreter_call", "input"),
}
_REASONING = ("reasoning_text", "summary_text")


class _Output:
    """What a stream has said so far, by the places of its items."""

    def __init__(self) -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.ended: set[int] = set()
        self.grown: dict[int, dict[tuple[str, int], list[str]]] = {}

    def take(self, event: dict[str, Any], kind: str) -> None:
        """Take an event."""
        place = number(event.get("output_index"))
        if kind in ("response.output_item.added", "response.output_item.done"):
            self.items[place] = fields(event.get("item"))
            self.ended |= {place} if kind.endswith("done") else set()
        elif kind in _PARTS or kind in _FIELDS:
            part = number(event.get("content_index", event.get("summary_index")))
            self.grown.setdefault(place, {}).setdefault((kind, part), []).append(text(event.get("delta")))

    def whole(self) -> list[dict[str, Any]]:
        """Return the items, those that have not ended as far as they have come."""
        return [self._item(place) for place in sorted(self.items.keys() | self.grown.keys())]

    def _item(self, place: int) -> dict[str, Any]:
        said = self.items.get(place, {})
        if place in self.ended:
            return said
        parts: list[dict[str, Any]] = []
        for (kind, _), pieces_said in sorted(self.grown.get(place, {}).items()):
            if kind in _FIELDS:
                is_of, name = _FIELDS[kind]
                said = {"type": is_of} | said | {name: "".join(pieces_said)}
            else:
                is_of, name = _PARTS[kind]
                parts.append({"type": is_of, name: "".join(pieces_said)})
        return said | _message(said, parts) if parts else said


def _message(said: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    if all(part["type"] in _REASONING for part in parts):
        return {"type": "reasoning", "content": parts}
    return {"type": "message", "role": plain(said.get("role")) or "assistant", "content": parts}


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the response that the events of a stream tell of: the whole one at its end, or what came until then."""
    whole: dict[str, Any] = {}
    output = _Output()
    for event in events:
        kind = text(event.get("type"))
        whole |= fields(event.get("response"))
        if kind == "error" or "error" in event:
            whole["error"] = event.get("error") or event
        output.take(event, kind)
    return whole if items(whole.get("output")) else whole | {"output": output.whole()}
