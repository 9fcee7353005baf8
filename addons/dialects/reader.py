"""Reads an answer beside its way to the client: bytes in, what it says of itself out. Never holds more than a bound."""

from collections.abc import Sequence

from addons.dialects import reading
from addons.dialects.answer import Answer, Said
from addons.dialects.decoding import DECODING_ERRORS, Decode, decoder
from addons.dialects.sse import EventReader

# Larger JSON answers pass through unread: their usage stays unknown.
MAX_BODY_BYTES = 16 << 20


class AnswerReader:
    """Takes the chunks of one answer in order; `answer` is what is known so far. Unreadable bytes end the reading.

    `said` is the text of a stream so far.
    """

    def __init__(self, dialect: str, content_type: str, content_encoding: str) -> None:
        self.answer = Answer()
        self.said = Said()
        self._read = reading(dialect)
        self._decode: Decode | None = decoder(content_encoding) if self._read else None
        kind = content_type.partition(";")[0].strip().lower()
        self._events = EventReader() if kind == "text/event-stream" else None
        if self._events is None and kind != "application/json":
            self._decode = None
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Read one chunk as it came from the provider."""
        if self._decode is None:
            return
        try:
            plain = self._decode(chunk)
        except DECODING_ERRORS:
            self._stop()
            return
        if self._events is not None:
            self._take(self._events.feed(plain))
        elif len(self._body) + len(plain) > MAX_BODY_BYTES:
            self._stop()
        else:
            self._body += plain

    def finish(self) -> None:
        """The answer is complete: read a body that only makes sense as a whole."""
        if self._decode is not None and self._events is None:
            self._take([self._body])
        self._stop()

    def _take(self, documents: Sequence[bytes | bytearray]) -> None:
        for document in documents:
            if self._read is not None:
                self.answer = self._read(self.answer, document, self.said)

    def _stop(self) -> None:
        self._decode = None
        self._body = bytearray()
