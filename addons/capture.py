"""Taps on bodies: the first bytes of what passes, and how much there was; what passes goes on as it came."""

from collections.abc import Callable, Iterable
from typing import Any

# What mitmproxy takes for a streamed body: True, or a function of its chunks.
type Stream = Callable[[bytes], Iterable[bytes] | bytes] | bool


class Capture:
    """Keeps `most` bytes of one body at most."""

    __slots__ = ("_kept", "_most", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        self.size = 0

    @property
    def start(self) -> bytes:
        """The first bytes."""
        return bytes(self._kept)

    def take(self, chunk: bytes) -> None:
        """See a chunk."""
        self.size += len(chunk)
        if (room := self._most - len(self._kept)) > 0:
            self._kept += chunk[:room]

    def around(self, stream: Stream) -> Stream:
        """Return a stream that passes on what another one does, and is seen on its way."""
        if not callable(stream):
            return self._pass if stream else stream

        def tapped(chunk: bytes) -> Iterable[bytes] | bytes:
            passed = stream(chunk)
            self._see(passed)
            return passed

        return tapped

    def _pass(self, chunk: bytes) -> bytes:
        self.take(chunk)
        return chunk

    def _see(self, passed: Any) -> None:
        if isinstance(passed, bytes):
            self.take(passed)
            return
        for piece in passed:
            self.take(piece)
