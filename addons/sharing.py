"""Shares breakers through Redis: what one worker learns goes out to all, and of all workers one may probe."""

import asyncio

from addons.store import Store, StoreUnavailable
from shared import logs
from shared.redis_schema import BreakerChange

log = logs.get("sharing")


class Sharing:
    """Hands changes over off the request path; a change that cannot be handed over is logged and goes no further."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def share(self, change: BreakerChange) -> None:
        """Tell the other workers, soon."""
        task = asyncio.get_running_loop().create_task(self._share(change))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take_probe(self, subject: str, seconds: float) -> bool:
        """Take the only probe of all workers; without Redis each worker has its own."""
        try:
            return await self._store.take_probe(subject, seconds)
        except StoreUnavailable as error:
            log.warning("probe_is_local", subject=subject, reason=str(error))
            return True

    async def done(self) -> None:
        """Wait for what is under way; the store bounds each call."""
        await asyncio.gather(*self._tasks)

    async def _share(self, change: BreakerChange) -> None:
        try:
            await self._store.share(change)
        except StoreUnavailable as error:
            log.warning("breaker_not_shared", subject=change.subject, reason=str(error))
