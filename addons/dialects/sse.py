"""Server-sent events, cut anywhere: turns chunks of bytes into the data of whole events.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html as far as metering needs it: line ends CR, LF
or CRLF, several data lines joined by LF, comments and other fields passed over.
"""

import re

# Images come whole in one event, in base64, and their usage with them. A longer event is passed over instead of being
# held in memory; so much is held of a body in JSON, too.
MAX_EVENT_BYTES = 16 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventReader:
    """Feed it chunks in order; it returns the data of each event that became complete."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that end within this chunk."""
        if not (self._rest or self._lines or self._size) and _is_one_event(chunk):
            return [chunk[6:-2]]
        if self._rest:
            if self._goes_on(chunk):
                self._hold(chunk)
                return []
            chunk = b"".join((self._rest, chunk))
            self._rest.clear()
        *lines, rest = self._split(chunk)
        complete = [self._take(line) for line in lines]
        if rest:
            self._hold(rest)
        return [event for event in complete if event is not None]

    def _goes_on(self, chunk: bytes) -> bool:
        """Tell whether the line that has begun does not end here; so a long one is not looked through over and over."""
        return b"\n" not in chunk and b"\r" not in chunk and not self._rest.endswith(b"\r")

    def _hold(self, rest: bytes) -> None:
        self._rest += rest
        if len(self._rest) > MAX_EVENT_BYTES:
            self._rest, self._size = self._rest[-1:], MAX_EVENT_BYTES + 1

    @staticmethod
    def _split(text: bytes) -> list[bytes]:
        if b"\r" not in text:
            return text.split(b"\n")
        # A CR at the very end may be half of a CRLF, so it waits for the next chunk.
        if text.endswith(b"\r"):
            *lines, last = _LINE_END.split(text[:-1])
            return [*lines, last + b"\r"]
        return _LINE_END.split(text)

    def _take(self, line: bytes) -> bytes | None:
        if not line:
            return self._finish()
        if line.startswith(b"data:"):
            data = line[6:] if line.startswith(b"data: ") else line[5:]
            self._size += len(data)
            if self._size <= MAX_EVENT_BYTES:
                self._lines.append(data)
        return None

    def _finish(self) -> bytes | None:
        lines, size = self._lines, self._size
        self._lines, self._size = [], 0
        return b"\n".join(lines) if lines and size <= MAX_EVENT_BYTES else None


def _is_one_event(chunk: bytes) -> bool:
    """Tell whether a chunk is just `data: ` and what follows it, as most chunks of a chat are."""
    is_plain = chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and len(chunk) <= MAX_EVENT_BYTES
    return is_plain and chunk.count(b"\n") == 2 and b"\r" not in chunk
