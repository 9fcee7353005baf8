"""Conversations as text. What somebody said stands indented; whatever begins in the first column is ours.

So nobody can write a turn, a call or a line of usage into what they say.
"""

from collections.abc import Callable, Iterable, Iterator

from addons.dialects.conversation import Block, Conversation, Kind, Turn

# What a view shows at most, in characters.
MOST_SHOWN = 512 << 10

_TEXT = "  "
_WITHIN = "    "


def conversation(told: Conversation) -> Iterator[str]:
    """Return a conversation in lines."""
    if told.facts:
        yield from ("", *(f"{name}: {value}" for name, value in told.facts))
    for turn in told.turns:
        yield from _turn(turn)
    if told.error:
        yield from ("", "! error", *_indented(told.error, _WITHIN))
    if told.rest:
        yield from ("", "* as it is", *_indented(told.rest, _WITHIN))
    yield from _end(told)


def _end(told: Conversation) -> Iterator[str]:
    if told.ending or told.usage or told.is_cut:
        yield ""
    if told.is_cut:
        yield "(it goes on, or breaks off here)"
    if told.ending:
        yield f"ended: {told.ending}"
    if told.usage:
        yield "usage: " + ", ".join(f"{name} {count}" for name, count in told.usage)


def _turn(turn: Turn) -> Iterator[str]:
    yield from ("", f"# {turn.role}")
    for block in turn.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if block.kind is Kind.TEXT:
        yield from _indented(block.text, _TEXT)
    elif block.kind is Kind.ATTACHMENT:
        yield f"+ {' '.join(block.text.split())}"
    elif block.kind is Kind.NOTE:
        yield from ("*", *_indented(block.text, _WITHIN)) if "\n" in block.text else (f"* {block.text}",)
    else:
        yield _HEADS[block.kind](block)
        yield from _indented(block.text, _WITHIN)


def _identity(block: Block) -> str:
    return f" ({block.id})" if block.id else ""


_HEADS: dict[Kind, Callable[[Block], str]] = {
    Kind.REASONING: lambda block: "~ thinks",
    Kind.CALL: lambda block: f"> calls {block.name or '?'}{_identity(block)}",
    Kind.RESULT: lambda block: f"< result {block.name}".rstrip() + _identity(block),
    Kind.REFUSAL: lambda block: "! refuses",
}


def _indented(text: str, margin: str) -> Iterator[str]:
    return (margin + line if line else line for line in text.split("\n"))


def joined(lines: Iterable[str]) -> str:
    """Return lines as one text, up to what is shown at most."""
    kept, size = [], 0
    for line in lines:
        size += len(line) + 1
        if size > MOST_SHOWN:
            kept.append("(there is more, which is not shown)")
            break
        kept.append(line)
    return "\n".join(kept).strip("\n") + "\n"
