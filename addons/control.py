"""Listens to what all workers must hear at once: revocations, cuts, decisions, rules, breakers."""

import asyncio

from addons.breakers import Breakers
from addons.holding import Holding
from addons.revocation import Revocation
from addons.rule_book import RuleBook
from addons.store import Store, StoreUnavailable
from shared import logs
from shared.redis_schema import ControlMessage, Cut, Decided, Revoked, RulesChanged

PAUSE_SECONDS = 0.5

log = logs.get("control")


class Control:
    """One task for the life of the worker; whenever it connects anew, it catches up on what it may have missed."""

    def __init__(
        self, store: Store, breakers: Breakers, revocation: Revocation, book: RuleBook, holding: Holding
    ) -> None:
        self._store = store
        self._breakers = breakers
        self._revocation = revocation
        self._book = book
        self._holding = holding
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start listening."""
        self._task = asyncio.get_running_loop().create_task(self._keep_listening())

    async def done(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_listening(self) -> None:
        is_connected = True
        while True:
            try:
                async with self._store.control() as messages:
                    await self.catch_up()
                    is_connected = True
                    async for message in messages:
                        self._take(message)
            except StoreUnavailable as error:
                if is_connected:
                    log.warning("control_channel_lost", reason=str(error))
                is_connected = False
            await asyncio.sleep(PAUSE_SECONDS)

    async def catch_up(self) -> None:
        """Take in what is open, and cut whoever has been revoked meanwhile. Raises StoreUnavailable."""
        self._book.look()
        await self._holding.catch_up()
        for change in await self._store.open_breakers():
            self._breakers.hear(change)
        calls = self._revocation.live()
        callers = [(call.token_id, call.caller.project.id) for call in calls if call.caller]
        if await self._store.is_ready():  # A Redis that has lost its data knows nobody; that is no revocation.
            self._revocation.confirm(calls, await self._store.are_active(callers))

    def _take(self, message: ControlMessage) -> None:
        if isinstance(message, Revoked):
            self._revocation.revoked(message)
        elif isinstance(message, Cut):
            self._revocation.cut(message.request_id)
        elif isinstance(message, Decided):
            self._holding.decided(message)
        elif isinstance(message, RulesChanged):
            self._book.look()
        else:
            self._breakers.hear(message)
