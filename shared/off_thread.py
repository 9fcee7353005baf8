"""A stream for log lines that are written by a thread of its own: whoever logs never waits for a disk or a pipe."""

import atexit
import threading
import time
from collections import deque
from contextlib import suppress
from typing import IO

# How many texts may wait. Beyond it whoever writes does the thread's work, so that nothing is lost or piles up.
MAX_WAITING = 10_000
# Lines that come within this time leave in one write.
PAUSE_SECONDS = 0.01


class OffThread:
    """Passes on to `stream`, in order. `close` writes what is left; that happens at exit, too."""

    def __init__(self, stream: IO[str], max_waiting: int = MAX_WAITING) -> None:
        self._stream = stream
        self._max_waiting = max_waiting
        self._waiting: deque[str] = deque()
        self._arrived = threading.Event()
        self._writing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, text: str) -> int:
        """Take a text; it is written soon."""
        self._waiting.append(text)
        if self._is_closed or len(self._waiting) > self._max_waiting:
            self._drain()
        elif not self._arrived.is_set():
            self._arrived.set()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread decides."""

    def close(self) -> None:
        """Write what is left, and from now on at once."""
        self._is_closed = True
        self._arrived.set()
        self._drain()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._is_closed:
            self._arrived.wait()
            time.sleep(PAUSE_SECONDS)
            self._arrived.clear()
            self._drain()

    def _drain(self) -> None:
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            with suppress(OSError, ValueError):  # A log that cannot be written must not end what is logged.
                self._stream.write("".join(lines))
                self._stream.flush()
