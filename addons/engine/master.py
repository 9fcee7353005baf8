"""mitmproxy's master with the addons that this product needs, and no others: each one is asked about every event."""

import logging
import socket
from collections.abc import Callable, Sequence

from mitmproxy.addons.core import Core
from mitmproxy.addons.errorcheck import ErrorCheck
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.utils import asyncio_utils

from addons.engine.hook_table import HookTable
from addons.engine.listener import NOWHERE, Listener
from addons.engine.loop import eager_tasks
from addons.engine.pool import Pool
from addons.engine.provider_lines import Limits
from addons.telemetry import PoolCounts, ProviderPoolHook

log = logging.getLogger(__name__)


class Rooms:
    """The rooms as one addon, as if mitmdump had loaded them from a script: where one raises, later ones are left out.

    That is safer than going on: a request that no room has passed is refused in the end.
    """

    def __init__(self, rooms: list[object]) -> None:
        self.addons = rooms


class EngineMaster(Master):
    """Runs rooms on one port. What is logged as an error while it starts ends the process with exit code 1."""

    def __init__(
        self, options: Options, rooms: list[object], bound: Sequence[socket.socket] = (), limits: Limits | None = None
    ) -> None:
        super().__init__(options)
        self.addons: HookTable = HookTable(self)
        self.listener = Listener()
        self.pool = Pool(limits or Limits(), self._tell)
        self._bound = bound
        options.update(mode=[NOWHERE])
        self._errors = ErrorCheck()
        self.addons.add(Core(), self.listener, TlsConfig(), self._errors, Rooms(rooms))

    async def run(self, when_ready: Callable[[], None] = lambda: None) -> None:
        """Start the rooms, then listen; stay until `shutdown`, then let the rooms finish."""
        with asyncio_utils.install_exception_handler(self._asyncio_exception_handler), eager_tasks():
            self.should_exit.clear()
            await self._errors.shutdown_if_errored()
            try:
                await self.running()
                await self._listen()
                await self._errors.shutdown_if_errored()
                self._errors.finish()
                when_ready()
                await self.should_exit.wait()
            finally:
                self.listener.close()
                self.pool.close()
                await self.done()
                self.pool.abort()

    def _tell(self, counts: PoolCounts) -> None:
        for _ in self.addons.call(ProviderPoolHook(counts)):
            raise RuntimeError("counting waits for nothing")

    async def _listen(self) -> None:
        host, port = self.options.listen_host, self.options.listen_port
        try:
            await self.listener.listen(host, port or 0, self._bound)
        except OSError as error:
            log.error("cannot listen on %s:%s: %s", host, port, error)
