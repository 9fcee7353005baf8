"""What this worker holds: admitted requests that have not been settled in Redis, by their ids.

A hold is what admission took for a request. It changes when a running request needs more, and is gone once Redis knows
how the request ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Holds:
    """Rooms hand holds to each other by the request's id."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}
        self._changing: dict[str, list[Callable[[bytes | None], None]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._held.values()))

    def keep(self, request_id: str, hold: bytes) -> None:
        """Know a hold, in place of an earlier one of this request."""
        self._held[request_id] = hold

    def of(self, request_id: str) -> bytes | None:
        """Return what is held for a request; None if nothing is."""
        return self._held.get(request_id)

    @contextmanager
    def changing(self, request_id: str) -> Iterator[None]:
        """Say that Redis is just being asked to change a hold: nobody may settle the old one within this block."""
        waiting = self._changing.setdefault(request_id, [])
        try:
            yield
        finally:
            del self._changing[request_id]
            for take in waiting:
                take(self.of(request_id))

    def hand_over(self, request_id: str, take: Callable[[bytes | None], None]) -> None:
        """Give `take` what is held for a request, now or as soon as it does not change any longer."""
        if request_id in self._changing:
            self._changing[request_id].append(take)
        else:
            take(self.of(request_id))

    def settled(self, request_id: str) -> None:
        """Forget a request that Redis has settled."""
        self._held.pop(request_id, None)
