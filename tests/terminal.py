"""A terminal in which a test does what people do: it reads what is shown, types, and presses Ctrl-C."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

# What steers a terminal instead of being shown: CSI, OSC, and shorter sequences.
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78MDEHcNO])")
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
_BLOCK = 1 << 16


class Terminal:
    """Runs one command. Waits are bounded; what is still running at the end of the `with` is killed."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int = 200, rows: int = 50
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm-256color", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self.raw = b""
        self._seen = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was shown, without what steers the terminal."""
        return ESCAPES.sub("", self.raw.decode(errors="replace"))

    def expect(self, wanted: str, seconds: float = 60.0) -> str:
        """Wait until something is shown; return what was shown since the last time, up to its end."""
        deadline = time.monotonic() + seconds
        while (at := self.text.find(wanted, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"{wanted!r} is not shown; it ends with:\n{self.text[-3000:]}"
        begin, self._seen = self._seen, at + len(wanted)
        return self.text[begin : self._seen]

    def type(self, text: str) -> None:
        """Type some keys."""
        os.write(self._ours, text.encode())

    def ended(self, seconds: float = 60.0) -> int:
        """Wait for the end of the command and return its exit code."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._read(left):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Read what there is; False if nothing more will come."""
        ready, _, _ = select.select([self._ours], [], [], min(seconds, 1.0))
        if not ready:
            return self.process.poll() is None
        try:
            block = os.read(self._ours, _BLOCK)
        except OSError:  # Nobody has the other side open any longer.
            return False
        self.raw += block
        return bool(block)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT):  # Whatever was ignored where the test runs.
        signal.signal(number, signal.SIG_DFL)
