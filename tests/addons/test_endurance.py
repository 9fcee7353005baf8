"""A task outlives whatever goes wrong in one of its steps, but not its cancellation."""

import asyncio

import pytest
import structlog.testing

from addons.endurance import Repeating, endure


async def fail(error: BaseException) -> None:
    raise error


async def test_what_nobody_expected_is_logged_and_survived() -> None:
    with structlog.testing.capture_logs() as lines:
        await endure(fail(KeyError("gone")), "budget", pause_seconds=0.0)

    assert [(line["event"], line["task"]) for line in lines] == [("task_failed_and_goes_on", "budget")]


async def test_a_cancelled_task_ends() -> None:
    with pytest.raises(asyncio.CancelledError):
        await endure(fail(asyncio.CancelledError()), "budget")


async def test_a_step_is_taken_again_and_again_until_the_end() -> None:
    steps, third = 0, asyncio.Event()

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            third.set()

    repeating = Repeating(step, "steps", pause_seconds=0.001)
    await repeating.stop()  # It may end before it begins.
    repeating.start()
    await asyncio.wait_for(third.wait(), 5)
    await repeating.stop()
    taken = steps
    await asyncio.sleep(0.02)

    assert steps == taken
