"""The body of a request: text with variables that change from request to request.

`{{number}}` counts requests, `{{uuid}}` is one, `{{int:1-9}}` a number, `{{choice:a|b}}` one of several;
`{{words:5-50}}` are so many words and `{{text:100-2000}}` so many bytes of them, the size by chance. Other names are
given by the caller. All of them can stand within a string of JSON.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable, Mapping

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w-]*)\s*(?::([^{}]*))?\}\}")
_RANGE = re.compile(r"\s*(\d{1,8})\s*(?:-\s*(\d{1,8})\s*)?")
_LONGEST = 16 * 1024 * 1024
_WORDS = (
    "river stone window paper garden number market winter letter summer bridge silver table music forest engine "
    "island question answer moment village copper signal harbour mountain thread lantern orchard circle journey"
).split()
DEFAULT = """{"model": "{{model}}", "messages": [{"role": "user", "content": "Hello {{number}}"}]}"""
_STREAM = re.compile(r'"stream"\s*:')


class TemplateError(ValueError):
    """A template cannot be understood; the message says where and why."""


type Piece = Callable[[int], str]


class Template:
    """A body that is made anew for each request. Raises TemplateError."""

    def __init__(self, text: str, variables: Mapping[str, str], seed: int = 0) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - sizes of loads, no secrets
        self._pieces: list[str | Piece] = []
        end = 0
        for found in _VARIABLE.finditer(text):
            self._add(text[end : found.start()])
            self._add(self._piece(found, variables))
            end = found.end()
        self._add(text[end:])
        if rest := next((each for each in self._pieces if isinstance(each, str) and "{{" in each), None):
            raise TemplateError(f"what stands after `{{{{` is no variable: {rest[rest.index('{{') :][:40]!r}")

    def _add(self, piece: str | Piece) -> None:
        if isinstance(piece, str) and self._pieces and isinstance(self._pieces[-1], str):
            self._pieces[-1] += piece
        elif piece != "":
            self._pieces.append(piece)

    @property
    def is_constant(self) -> bool:
        """Tell whether all bodies are the same."""
        return all(isinstance(each, str) for each in self._pieces)

    def body(self, number: int) -> bytes:
        """Return the body of a request, in UTF-8."""
        return "".join([each if isinstance(each, str) else each(number) for each in self._pieces]).encode()

    def _piece(self, found: re.Match[str], variables: Mapping[str, str]) -> str | Piece:
        name, argument = found[1], found[2]
        if name in ("number", "uuid"):
            if argument is not None:
                raise TemplateError(f"{found[0]} takes nothing after its name")
            return str if name == "number" else lambda _: str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        if name == "choice":
            choices = (argument or "").split("|")
            return lambda _: self._chance.choice(choices)
        if name in ("int", "words", "text"):
            low, high = _range(found[0], argument or "")
            return getattr(self, f"_{name}")(low, high)  # type: ignore[no-any-return]
        if name not in variables or argument is not None:
            raise TemplateError(f"nobody knows {found[0]}; give its value with --var {name}=…")
        return variables[name]

    def _int(self, low: int, high: int) -> Piece:
        return lambda _: str(self._chance.randint(low, high))

    def _words(self, low: int, high: int) -> Piece:
        return lambda _: " ".join(self._chance.choices(_WORDS, k=self._chance.randint(low, high)))

    def _text(self, low: int, high: int) -> Piece:
        store = " ".join(self._chance.choices(_WORDS, k=high // 4 + 1000))
        return lambda _: _slice(store, self._chance.randint(low, high), self._chance)


def _slice(store: str, size: int, chance: random.Random) -> str:
    start = chance.randint(0, len(store) - size)
    return store[start : start + size]


def _range(variable: str, argument: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(argument)
    if not found:
        raise TemplateError(f"{variable} needs a size such as 100, or 100-2000")
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high or high > _LONGEST:
        raise TemplateError(f"{variable} needs a size from less to more, up to {_LONGEST}")
    return low, high


def streaming(text: str) -> str:
    """Return a template of a JSON object that asks for a stream. Raises TemplateError.

    >>> streaming('{"model": "m"}')
    '{"stream": true, "model": "m"}'
    """
    if _STREAM.search(text):
        return text
    if not (start := re.match(r"\s*\{(?!\{)\s*(\})?", text)):
        raise TemplateError("only a body that is a JSON object can ask for a stream")
    return '{"stream": true' + ("}" if start[1] else ", ") + text[start.end() :]
