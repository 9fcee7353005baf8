"""Keeps the long-lived tasks of rooms alive: what nobody expected is logged, and the task goes on after a pause.

What is expected, such as a Redis that does not answer, is up to each task itself.
"""

import asyncio
from collections.abc import Awaitable, Callable

from shared import logs

# After a fault, in seconds: one that comes again and again is not to fill the log.
PAUSE_SECONDS = 1.0

log = logs.get("endurance")


async def endure(step: Awaitable[object], task: str, pause_seconds: float = PAUSE_SECONDS) -> None:
    """Await one step of a task, whatever comes of it."""
    try:
        await step
    except Exception:  # A task that has died is not missed until it is too late.
        log.exception("task_failed_and_goes_on", task=task)
        await asyncio.sleep(pause_seconds)


class Repeating:
    """Takes a step of a room again and again, `pause_seconds` after the last one, for the life of the worker."""

    def __init__(self, step: Callable[[], Awaitable[object]], task: str, pause_seconds: float) -> None:
        self._step = step
        self._name = task
        self._pause_seconds = pause_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with the first step at once."""
        self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def stop(self) -> None:
        """End, also in the middle of a step."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _repeat(self) -> None:
        while True:
            await endure(self._step(), self._name)
            await asyncio.sleep(self._pause_seconds)
