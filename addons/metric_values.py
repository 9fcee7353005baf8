"""Metrics' values that stay in this worker's memory until they are flushed to the files which all workers share.

Each time that one of prometheus_client's own values for several processes changes, it takes a lock, asks for the id of
the process and packs bytes into a file. A request changes a dozen of them.
"""

from typing import Any

from prometheus_client import values


class Value:
    """Stands in for a value of prometheus_client. It is changed by one thread only."""

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self._now: float = stored.get()
        self._written = self._now

    def inc(self, amount: float) -> None:
        """Add to the value."""
        self._now += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Replace the value; the time is of use to none of our gauges."""
        self._now = value

    def get(self) -> float:
        """Return the value, written or not."""
        return self._now

    def flush(self) -> None:
        """Write the value if it has changed."""
        now = self._now
        if now != self._written:
            self._stored.set(now)
            self._written = now


class Buffer:
    """Makes values in the place of a class of prometheus_client that writes to files, and flushes them all."""

    _multiprocess = True  # It asks this of whatever makes values.

    def __init__(self, storing: Any) -> None:
        self._storing = storing
        self._values: list[Value] = []

    def __call__(self, *described: Any, **more: Any) -> Value:
        """Make a value; it begins with what its file holds."""
        value = Value(self._storing(*described, **more))
        self._values.append(value)
        return value

    def flush(self) -> None:
        """Write every value that has changed."""
        for value in tuple(self._values):
            value.flush()


def installed() -> Buffer:
    """Return the buffer of this process, which is put in the place of prometheus_client's own class at first."""
    if not isinstance(values.ValueClass, Buffer):
        values.ValueClass = Buffer(values.ValueClass)
    return values.ValueClass
