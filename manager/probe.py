"""Asks something that may hang, and waits no longer than one is willing to."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Probe[Answer]:
    """Asks one question again and again, in a thread of its own: while an answer is out, nobody asks twice.

    However long it hangs, it holds one thread, which keeps no process from ending.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked: Future[Answer] | None = None

    def begin(self) -> "Future[Answer]":
        """Return the answer to come: of the question that is out, or of a new one."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), daemon=True).start()
            return self._asked

    def _answer(self, answer: "Future[Answer]") -> None:
        try:
            answer.set_result(self._ask())
        except BaseException as error:  # It belongs to whoever waits for the answer.
            answer.set_exception(error)
