"""Makes texts fit to be shown: no control characters, base64 measured instead of shown, everything bounded.

What is measured may be read wrong: a text that only looks like base64. It is never shown by mistake the other way
round, once it is long.
"""

import re
from itertools import islice
from typing import Any

import orjson

# The longest text of one block, in characters.
MOST_TEXT = 32 << 10
MOST_WORD = 200
# What of other JSON is shown: so many values, so deep, so many members of each.
MOST_VALUES = 2000
MOST_DEPTH = 12
MOST_MEMBERS = 200

_LINE_END = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, what turns the direction of writing or is not seen at all, and halves of surrogate pairs.
_ODD = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Neither of these ever goes back, so that no text makes them slow.
_DATA_URL = re.compile(
    r"data:(\w[\w.+-]{0,60}+/[\w.+-]{1,60}+)?+(?:;(?!base64,)[^,;\s\"]{1,60}+){0,3}+;base64,([A-Za-z0-9+/=_-]*+)"
)
# A long run, or lines of it as in e-mail.
_RUN = re.compile(
    r"(?<![A-Za-z0-9+/_-])"
    r"(?:(?:[A-Za-z0-9+/]{60,}+\r?\n){4,}+[A-Za-z0-9+/]*+|[A-Za-z0-9+/_-]{256,}+)={0,2}"
)
_MIXED = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))


def fields(value: Any) -> dict[str, Any]:
    """Return an object of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return an array of JSON; an empty one for anything else."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a string of JSON; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    """Return a whole number of JSON; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def size(count: int) -> str:
    """Return a number of bytes as people read it.

    >>> size(512), size(12_595)
    ('512 bytes', '12.3 KiB')
    """
    if count < 1024:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    kib = count / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"


def decoded_size(base64: str) -> int:
    """Return how many bytes base64 stands for.

    >>> decoded_size("aGVsbG8=")
    5
    """
    length = len(base64) - base64.count("\n") - base64.count("\r")
    return max(length * 3 // 4 - base64[-2:].count("="), 0)


def plain(value: Any, most: int = MOST_TEXT) -> str:
    """Return a string of JSON as it is shown; an empty one for anything else."""
    shown = _LINE_END.sub("\n", text(value))
    if len(shown) >= 60:
        shown = _RUN.sub(_measured, _DATA_URL.sub(_measured_url, shown))
    if len(shown) > most:
        shown = f"{shown[:most]}... {len(shown) - most} more characters"
    return _ODD.sub("\ufffd", shown)


def word(value: Any, most: int = MOST_WORD) -> str:
    """Return a string of JSON as it is shown within a line."""
    return " ".join(plain(value, most).split())


def _measured_url(found: re.Match[str]) -> str:
    return f"[{found[1] or 'data'}, {size(decoded_size(found[2]))}]"


def _measured(found: re.Match[str]) -> str:
    start = found[0][:256]
    is_mixed = all(kind.search(start) for kind in _MIXED)
    return f"[base64, {size(decoded_size(found[0]))}]" if is_mixed else found[0]


def pretty(value: Any) -> str:
    """Return any JSON, indented and abridged."""
    return orjson.dumps(_abridged(value, [MOST_VALUES], MOST_DEPTH), option=orjson.OPT_INDENT_2).decode()


def brief(value: Any) -> str:
    """Return any JSON in a line, abridged."""
    if isinstance(value, str):
        return word(value)
    return word(orjson.dumps(_abridged(value, [MOST_WORD], MOST_DEPTH)).decode())


def _abridged(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or (depth == 0 and isinstance(value, dict | list)):
        return "..."
    if isinstance(value, dict):
        some = islice(value.items(), MOST_MEMBERS)
        members = {plain(k, MOST_WORD): _abridged(v, left, depth - 1) for k, v in some if left[0] > 0}
        return members | ({"...": "more"} if len(value) > len(members) else {})
    if isinstance(value, list):
        shown = [_abridged(each, left, depth - 1) for each in value[:MOST_MEMBERS] if left[0] > 0]
        return shown + ([f"... {len(value) - len(shown)} more"] if len(value) > len(shown) else [])
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return "a very large number"
    return plain(value) if isinstance(value, str) else value


def arguments(value: Any) -> str:
    """Return what a tool is called with: JSON, indented, if it is some; and as it is where that breaks off."""
    if isinstance(value, str):
        try:
            return pretty(orjson.loads(value.encode(errors="replace")))
        except orjson.JSONDecodeError:
            return plain(value)
    return "" if value is None else pretty(value)
