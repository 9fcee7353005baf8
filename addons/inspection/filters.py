"""Filters of whoever looks, in mitmproxy's language: none can keep the inspector busy, whatever it looks for.

Their patterns are RE2's, which take time in proportion to the text and to the pattern (see addons/filter_patterns.py).
mitmproxy's reader does not to brackets, so these are few. A filter that takes long all the same is not asked any more.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

import re2
from mitmproxy import flow, flowfilter

from addons.filter_patterns import MOST_STEPS

LONGEST = 500
DEEPEST = 3
MOST_BRACKETS = 8
# What may be spent on one flow: steps are counted before, and take half a second at most; seconds are measured.
MOST_STEPS_OF_A_FLOW = 100_000_000
MOST_SECONDS_OF_A_FLOW = 0.1

_FLAGS = {int(flag): letter for flag, letter in ((re.MULTILINE, "m"), (re.DOTALL, "s"))}


class _TooLong(Exception):
    """A flow takes too many steps."""


class _Meter:
    """Counts the steps that are left for one flow."""

    left = 0

    def take(self, steps: int) -> None:
        """Raise _TooLong if there are not so many."""
        self.left -= steps
        if self.left < 0:
            raise _TooLong


class _Pattern:
    """A pattern as mitmproxy's filters use it."""

    def __init__(self, compiled: Any, meter: _Meter) -> None:
        self.size: int = compiled.programsize
        self._compiled = compiled
        self._meter = meter

    def search(self, text: str | bytes) -> Any:
        """Search a text."""
        self._meter.take(self.size * len(text))
        return self._compiled.search(text)


class Filter:
    """A filter in use. If it `is_slow`, it has taken too long for a flow, is not asked any more, and fits none.

    `seconds` is how long it has taken for all flows so far.
    """

    def __init__(self, fits: flowfilter.TFilter, meter: _Meter) -> None:
        self.pattern = fits.pattern
        self.is_slow = False
        self.seconds = 0.0
        self._fits = fits
        self._meter = meter

    def __call__(self, asked: flow.Flow) -> bool:
        """Tell whether a flow fits."""
        if self.is_slow:
            return False
        self._meter.left = MOST_STEPS_OF_A_FLOW
        began = time.thread_time()
        try:
            return bool(self._fits(asked))
        except _TooLong:
            self.is_slow = True
            return False
        finally:
            seconds = time.thread_time() - began
            self.seconds += seconds
            self.is_slow = self.is_slow or seconds > MOST_SECONDS_OF_A_FLOW


def parse(text: str) -> Filter:
    """Read a filter. Raises ValueError with a text for whoever has written it."""
    if len(text) > LONGEST:
        raise ValueError(f"A filter has at most {LONGEST} characters.")
    if _depth(text) > DEEPEST or text.count("(") > MOST_BRACKETS:
        raise ValueError(f"A filter has at most {MOST_BRACKETS} brackets, {DEEPEST} within each other.")
    try:
        found = flowfilter.parse(text)
    except RecursionError:
        raise ValueError("This filter is too deep.") from None
    meter = _Meter()
    patterns = [part for part in _parts(found) if hasattr(part, "re")]
    for part in patterns:
        part.re = _pattern(part, meter)
    if sum(part.re.size for part in patterns) > MOST_STEPS:
        raise ValueError("This filter is too large: make the repetitions in it shorter.")
    return Filter(found, meter)


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


def _pattern(part: Any, meter: _Meter) -> _Pattern:
    letters = "i" + "".join(letter for flag, letter in _FLAGS.items() if part.flags & flag)
    options = re2.Options()
    options.log_errors = False
    pattern = f"(?{letters}){part.expr}"
    try:
        return _Pattern(re2.compile(pattern.encode() if part.is_binary else pattern, options), meter)
    except re2.error:
        raise ValueError(f"The pattern {part.expr!r} cannot be used.") from None
