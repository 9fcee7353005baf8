"""How a program tells that it is ready when nothing that it offers can be asked: it writes a byte into a pipe."""

import os


class ReadyPipe:
    """A pipe for one program; hand `writer` down to it. Once ready, always ready."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._is_ready = False

    def is_ready(self) -> bool:
        """Tell whether the byte has come."""
        if not self._is_ready:
            try:
                self._is_ready = bool(os.read(self._reader, 1))
            except BlockingIOError:
                return False
        return self._is_ready

    def close(self) -> None:
        """Forget the program."""
        os.close(self._reader)
        os.close(self.writer)
