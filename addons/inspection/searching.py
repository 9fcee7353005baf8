"""Asks a filter about all flows that are kept, a few at a time, and not without end.

There is one search at a time, whoever has asked for it, so that many together do not keep the inspector busy either.
"""

import asyncio
import time
from collections.abc import Sequence

from mitmproxy import flow

from addons.inspection.filters import Filter

# Of searching, whatever else happens meanwhile.
MOST_SECONDS = 20.0
# So long nobody else has a turn.
_AT_ONCE_SECONDS = 0.01
TOO_SLOW = "This filter takes too long, and is not used: look for something shorter, or for less."


class Searches:
    """Those of one inspector."""

    def __init__(self, most_seconds: float = MOST_SECONDS) -> None:
        self._most_seconds = most_seconds
        self._turn = asyncio.Lock()

    async def fitting(self, wanted: Filter, flows: Sequence[flow.Flow]) -> set[str]:
        """Return the ids of those that fit. Raises ValueError with a text for whoever has asked, if it takes long."""
        fitting: set[str] = set()
        async with self._turn:
            rested = time.thread_time()
            for each in flows:
                if wanted(each):
                    fitting.add(each.id)
                if wanted.is_slow or wanted.seconds > self._most_seconds:
                    wanted.is_slow = True
                    raise ValueError(TOO_SLOW)
                if time.thread_time() - rested > _AT_ONCE_SECONDS:
                    await asyncio.sleep(0)
                    rested = time.thread_time()
        return fitting
