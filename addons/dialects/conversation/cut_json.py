"""Reads JSON that may break off anywhere, since bodies are shown only up to some length."""

import json
import re
from typing import Any

import orjson

# Of what does not end well, so many characters are looked at, and so many levels.
MOST_MENDED = 2 << 20
MOST_LEVELS = 200

_PIECE = re.compile(r'[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s"{}\[\],:]++)', re.DOTALL)
# Values with their commas, many at a time.
_RUN = re.compile(r'(?:[ \t\r\n]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"{}\[\],:]++)[ \t\r\n]*+,)++', re.DOTALL)
_STRING_SO_FAR = re.compile(r'"[^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*+)*+')
_CLOSING = {"{": "}", "[": "]"}


def read(body: bytes) -> tuple[Any, bool]:
    """Return what the JSON says and whether it breaks off. Raises ValueError for what is no JSON from its start."""
    try:
        return orjson.loads(body), False
    except orjson.JSONDecodeError:
        return _read_leniently(body.decode("utf-8", "replace"))


def _read_leniently(text: str) -> tuple[Any, bool]:
    try:
        try:
            return json.loads(text, strict=False), False
        except ValueError:
            return json.loads(_mended(text[:MOST_MENDED]), strict=False), True
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _mended(text: str) -> str:
    """Return the text up to where it breaks off, with everything closed that is open there."""
    place, closers, previous = 0, "", ""
    safe = (0, "")
    while len(closers) < MOST_LEVELS:
        if run := _RUN.match(text, place):
            place, previous = run.end(), ","
            safe = place - 1, closers
        if (found := _PIECE.match(text, place)) is None:
            break
        piece, place = found[1], found.end()
        if piece in _CLOSING:
            closers = _CLOSING[piece] + closers
            safe = place, closers
        elif piece in ("}", "]"):
            closers = closers[1:]
            safe = place, closers
        elif piece == ",":  # What is before it is whole, though it be a number.
            safe = found.start(1), closers
        elif piece[0] == '"' and _is_value(closers, previous):
            safe = place, closers
        previous = piece[0]
    if _is_value(closers, previous) and (begun := _STRING_SO_FAR.match(text[place:].lstrip(" \t\r\n"))):
        return f'{text[:place]}{begun[0]}"{closers}'
    return text[: safe[0]] + safe[1]


def _is_value(closers: str, previous: str) -> bool:
    """Tell whether a string here is a value, not a name."""
    return not closers.startswith("}") or previous == ":"
