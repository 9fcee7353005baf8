"""The parts of a message, whichever dialect they are of: their names do not collide."""

from typing import Any

from addons.dialects.conversation import attachments
from addons.dialects.conversation.plain import arguments, fields, items, plain, pretty, size, text, word
from addons.dialects.conversation.turns import MOST_BLOCKS, Block, Kind

# How deep the content of a part may have parts of its own.
MOST_NESTED = 4

_TEXTS = {
    "text": Kind.TEXT,
    "input_text": Kind.TEXT,
    "output_text": Kind.TEXT,
    "summary_text": Kind.REASONING,
    "reasoning_text": Kind.REASONING,
    "refusal": Kind.REFUSAL,
    "thinking": Kind.REASONING,
}
_TEXT_FIELDS = ("text", "refusal", "thinking")


def blocks(content: Any, nested: int = MOST_NESTED) -> list[Block]:
    """Return the pieces of a message's content: text, or a list of parts."""
    if isinstance(content, str):
        return [Block(Kind.TEXT, plain(content))] if content else []
    if isinstance(content, dict):
        return part(content, nested)
    found = []
    for each in items(content)[: MOST_BLOCKS + 1]:
        found += blocks(each, nested)
    return found


def part(content: dict[str, Any], nested: int = MOST_NESTED) -> list[Block]:
    """Return the pieces of one part."""
    kind = text(content.get("type"))
    if kind in _TEXTS:
        return _said(_TEXTS[kind], content)
    attached = attachments.of_openai(content, kind) or attachments.of_anthropic(content, kind)
    if attached is not None:
        return [attached]
    if nested > 0 and (kind.endswith(("tool_result", "call_output")) or kind in ("document", "search_result")):
        return _nested(content, kind, nested - 1)
    if kind.endswith(("tool_use", "_call")):
        return _called(content, kind)
    return _other(content, kind)


def _said(kind: Kind, content: dict[str, Any]) -> list[Block]:
    for name in _TEXT_FIELDS:
        said = content.get(name)
        said = text(said) or text(fields(said).get("value"))
        if said:
            return [Block(kind, plain(said))]
    return []


def _called(content: dict[str, Any], kind: str) -> list[Block]:
    """A call of a tool: of the caller's own, or of one that the provider runs, whose fields are anything."""
    called_with = next((content[name] for name in ("arguments", "input") if name in content), None)
    name = word(content.get("name")) or word(kind.removesuffix("_call"))
    identity = word(content.get("call_id")) or word(content.get("id"))
    if "result" in content and kind == "image_generation_call":
        return [Block(Kind.CALL, "", name, identity), attachments.encoded("image", content["result"])]
    if called_with is None:
        called_with = {key: value for key, value in content.items() if key not in ("type", "id", "status")}
    return [Block(Kind.CALL, arguments(called_with), name, identity)]


def _nested(content: dict[str, Any], kind: str, nested: int) -> list[Block]:
    """What has parts of its own: their texts are one, and whatever else they hold follows."""
    inner = blocks(_inside(content, kind), nested)
    said = "\n".join(block.text for block in inner if block.kind is Kind.TEXT)
    others = [block for block in inner if block.kind is not Kind.TEXT]
    name = word(content.get("name")) or word(content.get("title"))
    answers = word(content.get("tool_use_id")) or word(content.get("call_id"))
    if content.get("is_error") is True:
        name = f"{name} (an error)".strip()
    if not answers and kind in ("document", "search_result"):
        return [Block(Kind.ATTACHMENT, f"{name or kind}, {size(len(said.encode()))} of text"), *others]
    return [Block(Kind.RESULT, said, name, answers), *others]


def _inside(content: dict[str, Any], kind: str) -> Any:
    if kind == "document":
        source = fields(content.get("source"))
        return source.get("content") or source.get("data")
    return content.get("output") if kind.endswith("call_output") else content.get("content")


def _other(content: dict[str, Any], kind: str) -> list[Block]:
    hidden = text(content.get("data")) if kind == "redacted_thinking" else ""
    if hidden:
        return [Block(Kind.NOTE, f"thinking, encrypted, {size(len(hidden))}")]
    return [Block(Kind.NOTE, pretty(content))]
