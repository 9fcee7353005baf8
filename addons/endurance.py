"""Keeps long-lived tasks alive: what nobody expected is logged, and the task goes on after a pause.

What is expected, such as a Redis that does not answer, is up to each task itself.
"""

import asyncio
from collections.abc import Awaitable

from shared import logs

# After a fault, in seconds: one that comes again and again is not to fill the log.
PAUSE_SECONDS = 1.0

log = logs.get("endurance")


async def endure(step: Awaitable[object], task: str) -> None:
    """Await one step of a task, whatever comes of it."""
    try:
        await step
    except Exception:  # A task that has died is not missed until it is too late.
        log.exception("task_failed_and_goes_on", task=task)
        await asyncio.sleep(PAUSE_SECONDS)
