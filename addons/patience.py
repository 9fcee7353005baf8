"""Lets a request wait, within a hook, for what will be there again soon; an end of the request ends the wait.

What is away for longer is not waited for: then an error now is worth more than perhaps an answer later.
"""

import asyncio
import contextlib
import time

from addons.call import Call
from addons.targets import has_feature
from shared.models import Feature

LONGEST_WAIT = 8.0


def is_worth_waiting(call: Call, seconds: float, now: float) -> bool:
    """Tell whether a request may wait so long from `now` (monotonic) on: its route's time for retries is not over."""
    policy = call.route.retry if call.route else None
    if policy is None or policy.attempts < 2 or not call.attempts.wanted or not has_feature(call, Feature.RETRIES):
        return False
    return seconds <= LONGEST_WAIT and now - call.attempts.started + seconds <= policy.within


async def wait(call: Call, seconds: float) -> bool:
    """Wait; tells whether the time has passed undisturbed. Else the request was cut, ran out of time or was left."""
    if call.interruption is not None or call.ended_by_client:
        return False
    call.attempts.waiter = waiter = asyncio.Event()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiter.wait()
    call.attempts.waiter = None
    return not waiter.is_set()


async def outlasts(call: Call, seconds: float) -> bool:
    """Wait if that is worth it; tells whether it was."""
    return is_worth_waiting(call, seconds, time.monotonic()) and await wait(call, seconds)
