"""What the provider says: an echo of what it heard, in word pieces; one token is one word."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

ECHOED_WORDS = 64
ECHOED_CHARACTERS = 2000
_WORD = re.compile(r"\s*\S+")


class Speech(NamedTuple):
    """A text in ``pieces``, with its number of ``tokens``; ``cut`` if a limit shortened it."""

    pieces: Sequence[str]
    tokens: int
    cut: bool

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def say(heard: str, limit: int | None = None, chunks: int | None = None) -> Speech:
    """``You said: `` and the first 64 words (of 2000 characters) of ``heard``, cut to ``limit`` words.

    ``chunks`` sets the number of pieces: words are repeated until there are enough, or grouped if there are
    more; a limit below it wins.
    """
    words = ["You", " said:", *_words(" " + heard)]
    if chunks and chunks > len(words):
        words = list(itertools.islice(itertools.cycle([*words[:-1], words[-1] + " "]), chunks))
    kept = words if limit is None else words[:limit]
    return Speech(_grouped(kept, chunks), len(kept), cut=len(kept) < len(words))


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:ECHOED_CHARACTERS])[:ECHOED_WORDS]


def _grouped(words: list[str], groups: int | None) -> list[str]:
    if not groups or groups >= len(words):
        return words
    starts = [len(words) * index // groups for index in range(groups + 1)]
    return ["".join(words[start:end]) for start, end in itertools.pairwise(starts)]
