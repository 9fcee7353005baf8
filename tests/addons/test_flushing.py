"""Rules of flushing: what was counted is written again and again, until the end."""

import asyncio

from addons.flushing import Flushing
from addons.metrics import Metrics


class Watched(Metrics):
    """Metrics that tell of each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.flushed_twice = asyncio.Event()

    def flush(self) -> None:
        self.flushes += 1
        if self.flushes == 2:
            self.flushed_twice.set()


async def test_what_was_counted_is_written_again_and_again_until_the_end() -> None:
    metrics = Watched()
    room = Flushing(metrics, pause=0.001)

    room.running()
    await asyncio.wait_for(metrics.flushed_twice.wait(), 5)
    await room.done()

    written = metrics.flushes
    await asyncio.sleep(0.01)
    assert metrics.flushes == written


async def test_a_worker_that_never_ran_ends_all_the_same() -> None:
    await Flushing(Metrics()).done()
