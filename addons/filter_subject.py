"""A request as filters see it: what will go out, however its parts may be read; it knows no proxy."""

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from urllib.parse import urlsplit

from addons import readings

# A single search is not begun if it could take more steps, which is some 10 seconds: nothing can end it.
MOST_STEPS_AT_A_TIME = 2_000_000_000


class Subject:
    """`url` is where the request goes to, `source` the client's address and port, `headers` are those that go out.

    `body` None: it cannot be read. If it is not `is_whole`, it goes on where it ends here, or may mean something else.
    `remark` gives the line of shared/flow_schema.py, with the tags that the request has got so far. Nothing is searched
    any more when it is `until`, on the clock of time.monotonic().
    """

    def __init__(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        source: str,
        body: bytes | None,
        is_whole: bool,
        remark: Callable[[Sequence[str]], str],
    ) -> None:
        self.method = method.encode()
        self.url = url
        self.headers = headers
        self.source = source.encode()
        self.body = body
        self.is_whole = is_whole and body is not None
        self.until = math.inf
        self.tags: list[str] = []
        self._remark = remark

    def unread(self) -> "Subject":
        """Return the same request, with a body that cannot be read."""
        return Subject(self.method.decode(), self.url, self.headers, self.source.decode(), None, False, self._remark)

    def affords(self, steps: int) -> bool:
        """Tell whether there is time for a search of so many steps."""
        return steps <= MOST_STEPS_AT_A_TIME and time.monotonic() < self.until

    @property
    def head_bytes(self) -> int:
        """How long the longest of what is searched besides the body can be, roughly."""
        lines = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return max(lines, 2 * len(self.url), len(self.remark))

    @property
    def body_bytes(self) -> int:
        """How long the body is, in all ways in which it may be read."""
        return sum(map(len, self.bodies))

    @cached_property
    def urls(self) -> tuple[bytes, ...]:
        """The URL, as it may be read."""
        return readings.of_url(self.url)

    @cached_property
    def hosts(self) -> tuple[bytes, ...]:
        """The host that the request goes to."""
        return ((urlsplit(self.url).hostname or "").encode(),)

    @cached_property
    def head(self) -> bytes:
        """The header lines, as they are sent."""
        return b"".join(f"{name}: {value}\r\n".encode("utf-8", "surrogateescape") for name, value in self.headers)

    @cached_property
    def content_types(self) -> tuple[bytes, ...]:
        """What the request says of its body's kind."""
        return tuple(value.encode("utf-8", "surrogateescape") for value in self._values("content-type"))

    @cached_property
    def bodies(self) -> tuple[bytes, ...]:
        """The body, as it may be read; nothing if it cannot be."""
        if self.body is None:
            return ()
        return readings.of_body(self.body, next(iter(self._values("content-type")), ""))

    @property
    def asks_for_websocket(self) -> bool:
        """Whether the connection is to become a WebSocket."""
        return any("websocket" in value.lower() for value in self._values("upgrade"))

    @property
    def remark(self) -> bytes:
        """What is known of the request besides."""
        return self._remark(self.tags).encode("utf-8", "surrogateescape")

    def _values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name]
