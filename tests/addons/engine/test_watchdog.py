"""A connection on which nothing happens ends in time, and no sooner."""

import asyncio

from addons.engine.watchdog import Watchdog

SECONDS = 0.05


class Watched:
    """Something that is watched, and when it was said to be over on the event loop's clock."""

    def __init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.began = self.clock()
        self.ended: list[float] = []
        self.is_over = asyncio.Event()
        self.watchdog = Watchdog(SECONDS, self._end)
        self.watchdog.start()

    def _end(self) -> None:
        self.ended.append(self.clock() - self.began)
        self.is_over.set()

    async def until_over(self) -> float:
        async with asyncio.timeout(5):
            await self.is_over.wait()
        return self.ended[0]


async def test_it_expires_once_when_nothing_happens() -> None:
    watched = Watched()

    assert SECONDS * 0.9 <= await watched.until_over()

    await asyncio.sleep(3 * SECONDS)
    assert len(watched.ended) == 1


async def test_activity_puts_it_off() -> None:
    watched = Watched()
    asyncio.get_running_loop().call_later(SECONDS / 2, watched.watchdog.register_activity)

    assert SECONDS * 1.4 <= await watched.until_over()


async def test_it_never_expires_while_it_is_disarmed_and_counts_anew_afterwards() -> None:
    watched = Watched()
    with watched.watchdog.disarm(), watched.watchdog.disarm():
        await asyncio.sleep(4 * SECONDS)
        assert not watched.ended

    assert 4.9 * SECONDS <= await watched.until_over()


async def test_it_does_not_expire_after_it_was_stopped() -> None:
    watched = Watched()

    watched.watchdog.stop()
    watched.watchdog.stop()

    await asyncio.sleep(3 * SECONDS)
    assert not watched.ended
