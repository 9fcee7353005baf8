"""What this worker holds: admitted requests that have not been settled in Redis, by their ids.

A hold is what admission took for a request. Redis knows it by the request's id as it is now; this is what the worker
knows of it, which counts if Redis loses its own.
"""

from collections.abc import Iterator


class Holds:
    """Rooms hand holds to each other by the request's id. To iterate is to see the ids as they are now."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._held))

    def keep(self, request_id: str, hold: bytes) -> None:
        """Know the hold of a request that has been admitted."""
        self._held[request_id] = hold

    def replace(self, request_id: str, hold: bytes) -> None:
        """Know what has become of a hold, unless its request has been settled meanwhile."""
        if request_id in self._held:
            self._held[request_id] = hold

    def of(self, request_id: str) -> bytes | None:
        """Return what is held for a request; None if nothing is."""
        return self._held.get(request_id)

    def settled(self, request_id: str) -> None:
        """Forget a request that Redis has settled."""
        self._held.pop(request_id, None)
