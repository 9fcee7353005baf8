"""Takes out of a stream what is only there because we asked for its usage.

Asked for it, OpenAI's API adds an event before the last one, with no choices but the usage, and to all others a member
`"usage":null`. The filter takes both out of the bytes as they pass, so that what remains is what the provider would
have sent unasked.

Only the start of an event that could be such a one is held, until its data has come or is seen to be something else.
No client can read an event before that, so nothing comes later than it would. Everything else passes as it is: other
events, comments, what is too long or no JSON, and events whose data is spread over lines.
"""

from addons.dialects.unasked import without_usage

# The longest held part of an event. Longer ones pass, whatever they are.
MAX_HELD_BYTES = 1 << 20

_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_BLANK = (b"\n", b"\r\n")


def _may_be_added(start: bytes) -> bool:
    """Tell whether an event with our usage can have a line with this start."""
    if start.startswith(b"data:"):
        return start[5:].lstrip(b" \t")[:1] in (b"", b"{")
    return any(name.startswith(start[: len(name)]) for name in _FIELDS)


class UsageFilter:
    """Takes the chunks of one stream in order, and gives what is to be passed on; an empty chunk ends the stream.

    `_held` are whole lines of an event that may yet be dropped, `_rest` is the start of another one. `_is_ours` tells
    that the event goes if its next line ends it, `_is_passing` that its data has been passed on, so that the remainder
    follows. Of a line whose start has been passed on, `_begun` are the first two bytes.
    """

    def __init__(self, most_held: int = MAX_HELD_BYTES) -> None:
        self._most_held = most_held
        self._held = b""
        self._rest = b""
        self._begun = b""
        self._is_ours = False
        self._is_passing = False
        self._is_off = False

    def __call__(self, chunk: bytes) -> bytes:
        """Return what is to be passed on now."""
        if self._is_off:
            return chunk
        if not chunk:
            return self._finish()
        if not (self._held or self._rest or self._begun or self._is_passing) and _is_one_event(chunk):
            document = chunk[6:-2]
            left = without_usage(document)
            return chunk if left is document else b"" if left is None else b"data: %b\n\n" % left
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = b""
        passed = [self._take(line + b"\n") for line in lines]
        passed.append(self._begin(rest))
        return b"".join(passed)

    def _take(self, line: bytes) -> bytes:
        """Take a whole line."""
        if self._is_off:
            return line
        if self._begun or self._is_passing:
            self._is_passing = self._is_passing and self._begun + line not in _BLANK
            self._begun = b""
            return line
        is_blank = line in _BLANK
        if self._is_ours and is_blank:
            self._held, self._is_ours = b"", False
            return b""
        if self._is_ours:
            return self._release(line)
        if line.startswith(b"data:"):
            return self._take_data(line)
        if is_blank or (line.startswith(b":") and not self._held):
            return self._let_go() + line
        return self._hold(line) if line.startswith((b":", *_FIELDS)) else self._release(line)

    def _take_data(self, line: bytes) -> bytes:
        document = line[5:].strip(b" \t\r\n")
        if b"\r" in document:
            return self._give_up(line)
        left = without_usage(document) if document.startswith(b"{") else document
        if left is None:
            self._is_ours = True
            return self._hold(line)
        start = line.find(document, 5)
        return self._release(line[:start] + left + line[start + len(document) :])

    def _begin(self, rest: bytes) -> bytes:
        """Take the start of a line."""
        if not rest or self._is_off:
            return rest
        if self._begun or self._is_passing:
            self._begun = (self._begun + rest)[:2]
            return rest
        if b"\r" in rest[:-1]:
            return self._give_up(rest)
        if self._is_ours:
            may_be_held = rest == b"\r"
        elif rest.startswith(b":"):
            may_be_held = bool(self._held)
        else:
            may_be_held = _may_be_added(rest)
        if may_be_held and len(self._held) + len(rest) <= self._most_held:
            self._rest = rest
            return b""
        self._begun = rest[:2]
        return self._let_go() + rest if rest.startswith(b":") else self._release(rest)

    def _hold(self, line: bytes) -> bytes:
        if len(self._held) + len(line) > self._most_held:
            return self._release(line)
        self._held += line
        return b""

    def _release(self, line: bytes) -> bytes:
        """Pass an event on, from its start to this line, and the remainder when it comes."""
        self._is_passing = True
        return self._let_go() + line

    def _let_go(self) -> bytes:
        held, self._held, self._is_ours = self._held, b"", False
        return held

    def _give_up(self, line: bytes) -> bytes:
        """Pass on everything from here on: lines end with CR alone here, which no known provider does."""
        self._is_off = True
        return self._let_go() + line

    def _finish(self) -> bytes:
        if self._rest not in (b"", b"\r"):
            passed = self._take(self._rest)
            return b"" if self._is_ours else passed + self._let_go()
        return b"" if self._is_ours else self._let_go() + self._rest


def _is_one_event(chunk: bytes) -> bool:
    return chunk.startswith(b"data: {") and chunk.endswith(b"}\n\n") and chunk.count(b"\n") == 2
