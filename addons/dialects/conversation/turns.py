"""What a body says, as people read it: who said what, what was called and attached, and how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Of longer conversations the start and the end are kept, of longer turns the start.
MOST_TURNS = 500
MOST_BLOCKS = 200
_FIRST = 20


class Kind(StrEnum):
    """What a block is."""

    TEXT = "text"
    REASONING = "reasoning"
    CALL = "call"
    RESULT = "result"
    REFUSAL = "refusal"
    ATTACHMENT = "attachment"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a turn. Of a call `name` is what is called, of a result what has answered; both may have an `id`."""

    kind: Kind
    text: str
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said at once."""

    role: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request or an answer. All texts are plain: no control characters, no long base64, bounded.

    `facts` are names and values, as the provider calls them: the model, its settings. So is `usage`. `ending` is why
    an answer ended. `rest` is the document as far as it was understood as nothing else; `is_cut` if it breaks off.
    """

    turns: tuple[Turn, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    usage: tuple[tuple[str, int], ...] = ()
    ending: str = ""
    error: str = ""
    rest: str = ""
    is_cut: bool = False


def turn(role: str, blocks: Sequence[Block]) -> Turn:
    """Return a turn, bounded."""
    kept = tuple(blocks[:MOST_BLOCKS])
    if len(blocks) > MOST_BLOCKS:
        kept += (Block(Kind.NOTE, f"{len(blocks) - MOST_BLOCKS} more pieces are not shown"),)
    return Turn(role, kept)


def told(tell: Callable[[Any], Turn], given: Sequence[Any]) -> list[Turn]:
    """Return what is told of each of these, without those in the middle of very many."""
    if len(given) <= MOST_TURNS:
        return [tell(each) for each in given]
    left_out = len(given) - MOST_TURNS
    gap = Turn("...", (Block(Kind.NOTE, f"{left_out} turns are not shown"),))
    return [*map(tell, given[:_FIRST]), gap, *map(tell, given[_FIRST + left_out :])]
