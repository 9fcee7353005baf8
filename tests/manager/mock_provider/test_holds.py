"""Held streams wait for a release, or for their client to leave."""

import asyncio

from manager.mock_provider.holds import Holds


async def holding(holds: Holds, departure: "asyncio.Future[None]") -> "asyncio.Task[int | None]":
    task = asyncio.ensure_future(holds.hold(departure))
    await asyncio.sleep(0)
    return task


def never() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_a_release_reaches_every_stream_held_now() -> None:
    holds = Holds()
    first, second = await holding(holds, never()), await holding(holds, never())
    assert len(holds) == 2

    released = holds.release(3)

    assert (released, len(holds)) == (2, 0)
    assert (await first, await second) == (3, 3)


async def test_a_release_without_a_number_releases_for_good() -> None:
    holds = Holds()
    stream = await holding(holds, never())

    holds.release()

    assert await stream is None


async def test_a_stream_is_released_once() -> None:
    holds = Holds()
    stream = await holding(holds, never())

    assert (holds.release(1), holds.release(2)) == (1, 0)
    assert await stream == 1


async def test_a_client_that_leaves_is_held_no_longer() -> None:
    holds, departure = Holds(), never()
    stream = await holding(holds, departure)

    departure.set_result(None)

    assert await stream == 0
    assert len(holds) == 0
