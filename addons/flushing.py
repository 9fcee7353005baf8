"""Writes what this worker has counted to the folder that all workers share, several times a second."""

from addons.endurance import Repeating
from addons.metrics import Metrics

# A scrape of another worker sees what is at most so old, in seconds.
PAUSE_SECONDS = 0.25


class Flushing:
    """Runs from start to end; what is counted later still is written when the process exits."""

    def __init__(self, metrics: Metrics, pause: float = PAUSE_SECONDS) -> None:
        self._metrics = metrics
        self._writing = Repeating(self._write, "flushing", pause)

    def running(self) -> None:
        """Start writing."""
        self._writing.start()

    async def done(self) -> None:
        """Stop writing."""
        await self._writing.stop()

    async def _write(self) -> None:
        self._metrics.flush()
