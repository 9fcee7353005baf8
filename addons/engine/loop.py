"""The event loop of a worker: uvloop, with tasks that begin to run at once, as mitmproxy wants them."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop


def eager(loop: asyncio.AbstractEventLoop, steps: Coroutine[Any, Any, Any], **more: Any) -> "asyncio.Task[Any]":
    """Make a task that runs up to its first wait before anything else does.

    asyncio's own `eager_task_factory` of Python 3.13 fails on the `eager_start` that uvloop passes on.
    """
    is_eager = more.pop("eager_start", None)
    return asyncio.Task(steps, loop=loop, eager_start=is_eager is not False, **more)


@contextmanager
def eager_tasks() -> Iterator[None]:
    """Make tasks eager within the block."""
    loop = asyncio.get_running_loop()
    existing = loop.get_task_factory()
    loop.set_task_factory(eager if isinstance(loop, uvloop.Loop) else asyncio.eager_task_factory)
    try:
        yield
    finally:
        loop.set_task_factory(existing)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on a new uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
