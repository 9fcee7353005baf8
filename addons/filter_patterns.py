"""The patterns in filters: RE2's, so that the time they take is linear in what is searched, whatever a client sends.

They are read as mitmproxy reads its own: case does not matter, and bytes count where a text is no UTF-8.
"""

import re2

# Of instructions in a compiled pattern: at its slowest, RE2 takes as many steps for each byte. A step takes 4 to 6 ns,
# measured with `a[ab]{400}c` and `(a|b)*a(a|b){100}x` on random a and b. Most patterns take a fiftieth of that.
MOST_STEPS = 1000
_WORD_OF = {
    "missing )": "a closing bracket is missing",
    "unexpected )": "there is a closing bracket too many",
    "missing ]": "a closing ] is missing",
    "invalid perl operator": "this is not among RE2's operators",
    "invalid escape sequence": "this is not among RE2's escapes",
    "invalid repetition size": "it repeats something more than 1000 times",
    "pattern too large": "it is too large",
}


class PatternError(ValueError):
    """A pattern that RE2 does not take; the message is a part of a sentence."""


class Pattern:
    """A compiled pattern. With `m` in its flags `^` and `$` are those of a line, with `s` a dot is any character."""

    def __init__(self, text: str, flags: str = "") -> None:
        self._of_text = _compiled(text, flags, re2.Options.Encoding.UTF8)
        # Other characters would be several there, and cases would be mixed up between them.
        self._of_bytes = _compiled(text, flags, re2.Options.Encoding.LATIN1) if text.isascii() else None
        # Steps for each byte, at the slowest: some texts are searched with both.
        self.size: int = self._of_text.programsize + (self._of_bytes.programsize if self._of_bytes else 0)

    def fits(self, text: bytes) -> bool:
        """Tell whether the pattern is found anywhere in a text."""
        if self._of_text.search(text) is not None:
            return True
        return self._of_bytes is not None and not text.isascii() and self._of_bytes.search(text) is not None


def _compiled(text: str, flags: str, encoding: object) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors, options.never_capture, options.encoding = False, True, encoding
    try:
        compiled = re2.compile(f"(?i{flags}){text}".encode(), options)
    except re2.error as error:
        raise PatternError(_worded(error).replace(f"(?i{flags})", "", 1)) from None
    if compiled.programsize > MOST_STEPS:
        raise PatternError("it is too large: make its repetitions shorter")
    return compiled


def _worded(error: Exception) -> str:
    reason = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    kind, _, where = reason.partition(": ")
    told = next((word for start, word in _WORD_OF.items() if kind.startswith(start)), kind)
    return f"{told}: {where}" if where else told
