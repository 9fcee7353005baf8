"""How much the inspector keeps: so many flows, and so many bytes of what they show. The oldest go first.

Of requests that nobody was let in with a part is kept at most: whoever has no token pushes nobody else out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STRANGERS_PART = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that is kept."""

    flows: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow that is kept: its size in bytes, whether somebody has to decide about it, and whether it is nobody's."""

    size: int
    is_held: bool
    is_of_stranger: bool = False


class Ledger:
    """Knows what is kept, by order of coming, and says what has to go."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._entries: dict[str, Entry] = {}
        self._strangers: dict[str, None] = {}
        self._size = 0

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is kept, oldest first."""
        return self._entries

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._size

    def note(self, name: str, entry: Entry) -> None:
        """Something is kept from now on, or has another size. It does not become younger by that."""
        self._size += entry.size - self._entries.get(name, Entry(0, False)).size
        self._entries[name] = entry
        if entry.is_of_stranger:
            self._strangers[name] = None
        else:
            self._strangers.pop(name, None)

    def surplus(self) -> Iterator[str]:
        """Forget what is too much, and say what that is: strangers' first, then the oldest, held ones last."""
        while len(self._strangers) > max(1, self._bounds.flows // STRANGERS_PART):
            yield self._forget(next(iter(self._strangers)))
        while self._entries and (len(self._entries) > self._bounds.flows or self._size > self._bounds.size):
            yield self._forget(self._first())

    def _forget(self, name: str) -> str:
        self._size -= self._entries.pop(name).size
        self._strangers.pop(name, None)
        return name

    def _first(self) -> str:
        """Return what goes first: a stranger's, then the oldest that nobody has to decide about."""
        free = (name for name, entry in self._entries.items() if not entry.is_held)
        return next(iter(self._strangers), None) or next(free, None) or next(iter(self._entries))
