"""mitmproxy's filter language about requests: reads an expression, and tells whether a request fits it.

mitmproxy's own reader takes endless time for brackets within brackets, its patterns do for what clients send, and
neither says where an expression is wrong. What is written here means the same in mitmweb; a few things that mitmproxy
takes in a way that hardly anybody means are refused, with how to write them.

A body may be impossible to read, or there may be no time for a search. What a filter says then is neither yes nor no,
but None.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from addons.filter_patterns import Pattern, PatternError
from addons.filter_subject import Subject
from shared.rules_schema import LONGEST_FILTER

# Of brackets and `!` within each other, and of parts.
DEEPEST = 20
MOST_PARTS = 100
# Of all its patterns together, in instructions. 2000 characters of words have fewer.
MOST_STEPS = 5000

Test = Callable[[Subject], bool | None]

_SPACE = re.compile(r"[ \t\r\n]*")
_CODE = re.compile(r"~(\w*)")
_WORD = re.compile(r"""[^()~'" \t\r\n]+""")
_QUOTED = re.compile(r""""((?:[^"\\\r\n]|\\.)*)"|'((?:[^'\\\r\n]|\\.)*)'""")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_TRUE = frozenset(("all", "http", "q"))
_OF_ANSWERS = frozenset(("a", "bs", "c", "e", "hs", "s", "ts", "replays"))
_OF_OTHERS = frozenset(("tcp", "udp", "dns"))
_OF_MITMPROXY = frozenset(("marked", "marker", "meta", "replay", "replayq"))
_OF_BODIES = frozenset(("b", "bq"))
# The line has the model, which in a form or another body only that body names.
_NEEDING_BODIES = _OF_BODIES | {"comment"}


class FilterError(ValueError):
    """An expression that is no filter for requests. `position` counts its characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression that has been read. `fits` gives None if that depends on what cannot be read, or takes too long.

    For each byte of the body it takes `body_steps` at most, and `head_steps` for each of the head.
    """

    fits: Test
    needs_body: bool
    body_steps: int = 0
    head_steps: int = 0


def parse(text: str) -> Filter:
    """Read an expression. Raises FilterError."""
    return _Reader(text).read()


def _of(texts_of: Callable[[Subject], Iterable[bytes]]) -> Callable[[Pattern], Test]:
    def test_of(pattern: Pattern) -> Test:
        def test(subject: Subject) -> bool | None:
            verdict: bool | None = False
            for text in texts_of(subject):
                if not subject.affords(pattern.size * len(text)):
                    verdict = None
                elif pattern.fits(text):
                    return True
            return verdict

        return test

    return test_of


_of_bodies = _of(lambda subject: subject.bodies)


def _of_body(pattern: Pattern) -> Test:
    test_of_known = _of_bodies(pattern)

    def test(subject: Subject) -> bool | None:
        found = test_of_known(subject)
        return None if found is False and not subject.is_whole else found

    return test


# The flags are those with which mitmproxy compiles each.
_PATTERNS: dict[str, tuple[str, Callable[[Pattern], Test]]] = {
    **dict.fromkeys(("b", "bq"), ("s", _of_body)),
    **dict.fromkeys(("h", "hq"), ("m", _of(lambda subject: (subject.head,)))),
    **dict.fromkeys(("t", "tq"), ("", _of(lambda subject: subject.content_types))),
    "comment": ("m", _of(lambda subject: (subject.remark,))),
    "d": ("", _of(lambda subject: subject.hosts)),
    "m": ("", _of(lambda subject: (subject.method,))),
    "src": ("", _of(lambda subject: (subject.source,))),
    "u": ("", _of(lambda subject: subject.urls)),
}


def _all_of(tests: Sequence[Test]) -> Test:
    def test(subject: Subject) -> bool | None:
        verdict: bool | None = True
        for each in tests:
            found = each(subject)
            if found is False:
                return False
            verdict = None if found is None else verdict
        return verdict

    return tests[0] if len(tests) == 1 else test


def _not(inner: Test) -> Test:
    def test(subject: Subject) -> bool | None:
        found = inner(subject)
        return None if found is None else not found

    return test


def _one_of(tests: Sequence[Test]) -> Test:
    return tests[0] if len(tests) == 1 else _not(_all_of([_not(each) for each in tests]))


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0
        self._parts = 0
        self._needs_body = False
        self._body_steps = self._head_steps = 0

    def read(self) -> Filter:
        """Return all of it. What stands side by side must all be so, as in mitmproxy."""
        if len(self._text) > LONGEST_FILTER:
            raise FilterError(f"A filter has at most {LONGEST_FILTER} characters.", LONGEST_FILTER)
        if not self._next():
            raise FilterError("A filter must not be empty. The one for every request is ~all.", 0)
        tests = [self._alternatives()]
        while following := self._next():
            if following == ")":
                raise self._wrong("This bracket has not been opened.")
            tests.append(self._alternatives())
        return Filter(_all_of(tests), self._needs_body, self._body_steps, self._head_steps)

    def _alternatives(self) -> Test:
        tests = [self._together()]
        while self._takes("|"):
            tests.append(self._together())
        return _one_of(tests)

    def _together(self) -> Test:
        tests = [self._denied()]
        while self._takes("&"):
            tests.append(self._denied())
        return _all_of(tests)

    def _denied(self) -> Test:
        if not self._takes("!"):
            return self._part()
        self._descend()
        inner = self._denied()
        self._depth -= 1
        return _not(inner)

    def _part(self) -> Test:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._wrong(f"A filter has at most {MOST_PARTS} parts.")
        following = self._next()
        if following in ("", ")", "&", "|"):
            raise self._wrong(
                "Something is missing here." if following else "The filter ends where something is missing."
            )
        if following == "(":
            return self._bracketed()
        return self._about() if following == "~" else self._pattern("u")

    def _bracketed(self) -> Test:
        opened = self._place
        self._place += 1
        self._descend()
        inner = self._alternatives()
        following = self._next()
        if following == "":
            raise FilterError("This bracket is not closed.", opened)
        if following != ")":
            raise self._wrong("Within brackets, parts are joined by & or |.")
        self._place += 1
        self._depth -= 1
        return inner

    def _about(self) -> Test:
        found = _CODE.match(self._text, self._place)
        code = found[1] if found else ""
        if problem := _problem_of(code):
            raise self._wrong(problem)
        self._place += 1 + len(code)
        self._needs_body = self._needs_body or code in _NEEDING_BODIES
        if self._text[self._place : self._place + 1] not in ("", ")", *" \t\r\n"):
            raise self._wrong(f"A space must follow ~{code}.")
        if code in _TRUE:
            return lambda subject: True
        if code == "websocket":
            return lambda subject: subject.asks_for_websocket
        if self._next() in ("", "(", ")", "~"):
            raise self._wrong(f"A pattern must follow ~{code}; with brackets, quotes or ~ in it, it must be quoted.")
        return self._pattern(code)

    def _pattern(self, code: str) -> Test:
        start = self._place
        text = self._quoted() if self._text[start] in "\"'" else self._word()
        flags, test_of = _PATTERNS[code]
        try:
            pattern = Pattern(text, flags)
        except PatternError as error:
            raise FilterError(f"The pattern cannot be used: {error}.", start) from None
        self._count(code, pattern.size, start)
        return test_of(pattern)

    def _count(self, code: str, steps: int, start: int) -> None:
        if code in _OF_BODIES:
            self._body_steps += steps
        else:
            self._head_steps += steps
        if self._body_steps + self._head_steps > MOST_STEPS:
            message = (
                "Up to this pattern, they are too large together: make their repetitions shorter, or several rules."
            )
            raise FilterError(message, start)

    def _word(self) -> str:
        found = _WORD.match(self._text, self._place)
        word = found[0] if found else ""
        if word[0] in "&|!" or word[-1] in "&|":
            raise self._wrong("A pattern that begins or ends with an operator must be quoted, or a space put between.")
        self._place += len(word)
        if self._text[self._place : self._place + 1] in ("(", "~", "'", '"'):
            raise self._wrong("A pattern with brackets, quotes or ~ in it must be quoted.")
        return word

    def _quoted(self) -> str:
        found = _QUOTED.match(self._text, self._place)
        if found is None:
            raise self._wrong("This quote is not closed on its line.")
        written = found[1] if found[1] is not None else found[2]
        for escape in _ESCAPE.finditer(written):
            if escape[1] not in _ESCAPES:
                place = self._place + 1 + escape.start()
                raise FilterError(f"Within quotes, a backslash is written twice: \\\\{escape[1]}.", place)
        if not written:
            raise self._wrong("A pattern must not be empty.")
        self._place = found.end()
        return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], written)

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"Brackets and ! stand within each other at most {DEEPEST} times.")

    def _next(self) -> str:
        """Skip spaces and return the character that follows, nothing at the end."""
        found = _SPACE.match(self._text, self._place)
        self._place = found.end() if found else self._place
        return self._text[self._place : self._place + 1]

    def _takes(self, operator: str) -> bool:
        if self._next() != operator:
            return False
        self._place += 1
        return True

    def _wrong(self, message: str) -> FilterError:
        return FilterError(message, self._place)


def _problem_of(code: str) -> str:
    """Tell why there can be nothing about this in a filter for requests; nothing if there can."""
    if code in _OF_ANSWERS:
        return f"~{code} is about answers, and rules are asked before there is one."
    if code in _OF_OTHERS:
        return f"~{code} is about other protocols; only HTTP passes here."
    if code in _OF_MITMPROXY:
        return f"~{code} is about mitmproxy's own notes; what is known of a request is in ~comment."
    if code == "dst":
        return "~dst is not known before a request goes out; ~d is the host that it goes to."
    if code not in _TRUE and code not in _PATTERNS and code != "websocket":
        return f"There is no ~{code}." if code else "A letter must follow ~, such as in ~b."
    return ""
