"""Entity tags: what a row is at, so that a change can say what it was made for, and a look need not see it twice.

A tag is `"<state>-<shown>"`: `state` changes with every change of the row, `shown` with anything that is shown of it,
counters and health included. If-Match asks for the state alone: that a token was used meanwhile is nobody's conflict.
"""

import hashlib
import re
from dataclasses import dataclass

from manager.errors import Stale

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def state_of(*parts: object) -> str:
    """Return the state of a row of whatever makes it up."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def tag(state: str, shown: bytes) -> str:
    """Return the tag, in its quotes, of a row in this state that is shown like this."""
    return f'"{state}-{hashlib.sha256(shown).hexdigest()[:16]}"'


@dataclass(frozen=True)
class Expected:
    """The If-Match of a request, None if it has none."""

    if_match: str | None = None

    def check(self, state: str) -> None:
        """Raise Stale if a row in this state is not the one that was expected."""
        if self.if_match is None or self.if_match.strip() == "*":
            return
        # A weak tag never matches strongly (RFC 9110 section 13.1.1).
        strong = [found[1] for found in _TAG.finditer(self.if_match) if not found[0].startswith("W/")]
        if not any(text.partition("-")[0] == state for text in strong):
            raise Stale("It has changed since: get it again, and say whether the change still fits.")


def is_known(if_none_match: str, current: str) -> bool:
    """Tell whether a caller has what it would be shown (RFC 9110 section 13.1.2: weak tags count)."""
    return if_none_match.strip() == "*" or any(f'"{found[1]}"' == current for found in _TAG.finditer(if_none_match))
