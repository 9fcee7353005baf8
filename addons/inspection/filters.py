"""Filters of whoever looks, in mitmproxy's language: none can keep the inspector busy, whatever it looks for.

Their patterns are RE2's, which take time in proportion to the text. mitmproxy's reader does not to brackets, so these
are few.
"""

import re
from collections.abc import Iterator
from typing import Any

import re2
from mitmproxy import flowfilter

LONGEST = 500
DEEPEST = 3
MOST_BRACKETS = 8

_FLAGS = {int(flag): letter for flag, letter in ((re.MULTILINE, "m"), (re.DOTALL, "s"))}


def parse(text: str) -> flowfilter.TFilter:
    """Read a filter. Raises ValueError with a text for whoever has written it."""
    if len(text) > LONGEST:
        raise ValueError(f"A filter has at most {LONGEST} characters.")
    if _depth(text) > DEEPEST or text.count("(") > MOST_BRACKETS:
        raise ValueError(f"A filter has at most {MOST_BRACKETS} brackets, {DEEPEST} within each other.")
    try:
        found = flowfilter.parse(text)
    except RecursionError:
        raise ValueError("This filter is too deep.") from None
    for part in _parts(found):
        if hasattr(part, "re"):
            part.re = _pattern(part)
    return found


def _depth(text: str) -> int:
    depth = most = 0
    for character in text:
        depth += {"(": 1, "!": 1, ")": -1}.get(character, 0)
        most = max(most, depth)
    return most


def _parts(found: Any) -> Iterator[Any]:
    if isinstance(found, flowfilter.FAnd | flowfilter.FOr):
        for each in found.lst:
            yield from _parts(each)
    elif isinstance(found, flowfilter.FNot):
        yield from _parts(found.itm)
    else:
        yield found


def _pattern(part: Any) -> Any:
    letters = "i" + "".join(letter for flag, letter in _FLAGS.items() if part.flags & flag)
    options = re2.Options()
    options.log_errors = False
    pattern = f"(?{letters}){part.expr}"
    try:
        return re2.compile(pattern.encode() if part.is_binary else pattern, options)
    except re2.error:
        raise ValueError(f"The pattern {part.expr!r} cannot be used.") from None
