"""A task outlives whatever goes wrong in one of its steps, but not its cancellation."""

import asyncio

import pytest
import structlog.testing

from addons import endurance
from addons.endurance import endure


async def fail(error: BaseException) -> None:
    raise error


async def test_what_nobody_expected_is_logged_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "PAUSE_SECONDS", 0.0)

    with structlog.testing.capture_logs() as lines:
        await endure(fail(KeyError("gone")), "budget")

    assert [(line["event"], line["task"]) for line in lines] == [("task_failed_and_goes_on", "budget")]


async def test_a_cancelled_task_ends() -> None:
    with pytest.raises(asyncio.CancelledError):
        await endure(fail(asyncio.CancelledError()), "budget")
