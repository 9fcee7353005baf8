"""Writes what this worker has counted to the folder that all workers share, several times a second."""

import asyncio

from addons.endurance import endure
from addons.metrics import Metrics

# A scrape of another worker sees what is at most so old, in seconds.
PAUSE_SECONDS = 0.25


class Flushing:
    """Runs from start to end; what is counted later still is written when the process exits."""

    def __init__(self, metrics: Metrics, pause: float = PAUSE_SECONDS) -> None:
        self._metrics = metrics
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start writing."""
        self._task = asyncio.get_running_loop().create_task(self._flush())

    async def done(self) -> None:
        """Stop writing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await endure(self._write(), "flushing")

    async def _write(self) -> None:
        self._metrics.flush()
