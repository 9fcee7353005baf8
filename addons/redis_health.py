"""Knows whether Redis answers, so that requests need not each wait for a time-out to learn that it does not."""

import asyncio
from collections.abc import Awaitable, Callable

from addons.endurance import endure
from shared import logs

# Between looks at a server that does not answer, in seconds.
PAUSE_SECONDS = 0.25

log = logs.get("redis_health")


class RedisHealth:
    """A circuit breaker: once a call has failed, nobody else has to try until `ping` has succeeded.

    `faults` are the exceptions by which a call fails.
    """

    def __init__(
        self,
        ping: Callable[[], Awaitable[object]],
        faults: tuple[type[Exception], ...],
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._ping = ping
        self._faults = faults
        self._pause_seconds = pause_seconds
        self._answers = True
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Whether it is not worth asking just now."""
        return self._probing is not None

    def failed(self, reason: str) -> None:
        """A call has failed: look after the server until it answers again."""
        if self._probing is None:
            log.warning("redis_does_not_answer", reason=reason)
            self._answers = False
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def close(self) -> None:
        """Look no longer."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    async def _probe(self) -> None:
        while not self._answers:
            await endure(self._look(), "redis_health")
        self._probing = None
        log.info("redis_answers_again")

    async def _look(self) -> None:
        try:
            await self._ping()
            self._answers = True
        except self._faults:
            await asyncio.sleep(self._pause_seconds)
