"""How much the inspector keeps: so many flows, and so many bytes of what they show. The oldest go first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that is kept."""

    flows: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow that is kept: its size in bytes, and whether somebody has to decide about it."""

    size: int
    is_held: bool


class Ledger:
    """Knows what is kept, by order of coming, and says what has to go."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._entries: dict[str, Entry] = {}
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

    def surplus(self) -> Iterator[str]:
        """Forget what is too much, and say what that is: the oldest, and those that are held last."""
        while self._entries and (len(self._entries) > self._bounds.flows or self._size > self._bounds.size):
            name = next(self._free(), None) or next(iter(self._entries))
            self._size -= self._entries.pop(name).size
            yield name

    def _free(self) -> Iterator[str]:
        return (name for name, entry in self._entries.items() if not entry.is_held)
