"""Drops the trailers of chunked bodies (RFC 9110 section 6.5.1 allows it): mitmproxy would never end such a message."""

from typing import Any, Protocol

import h11


class BodyReader(Protocol):
    """What mitmproxy takes from h11: called with the buffer, it gives Data, EndOfMessage or None for more."""

    def __call__(self, buf: Any, /) -> Any:
        """Read what can be read."""

    def read_eof(self) -> Any:
        """Read the end of the connection; raises a ProtocolError if the body is not complete."""


class WithoutTrailers:
    """A body reader whose messages end plainly."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader

    def __call__(self, buf: Any, /) -> Any:
        """Read what can be read."""
        return _plain(self._reader(buf))

    def read_eof(self) -> Any:
        """Read the end of the connection."""
        return _plain(self._reader.read_eof())


def _plain(event: Any) -> Any:
    return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event
