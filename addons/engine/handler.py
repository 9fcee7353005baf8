"""One client connection with its provider connections: mitmproxy's connection handler, with less work for each event.

What is the same: the order of events and commands, time-outs, back-pressure, half-closed connections, what is logged.
What differs: no task reads; events wait in a queue instead of in tasks behind a lock; a hook becomes a task only once
it has to wait for something; what one event sends on a connection is written at once; writers are waited for only when
they are full; and a connection that is cancelled, however often, is closed (see tests/addons/engine/test_contract.py,
which names what is overridden).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from mitmproxy import flow, hooks
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.modes import ReverseProxy
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from addons.engine.attendance import Attendance
from addons.engine.client_line import ClientLine
from addons.engine.hook_table import HookTable, Steps, arguments_of, finish
from addons.engine.provider_dial import Dial
from addons.engine.watchdog import Watchdog

if TYPE_CHECKING:
    from addons.engine.master import EngineMaster

# The event loop itself keeps only weak references.
_hook_tasks: set["asyncio.Task[None]"] = set()
_ANY_UPDATE = hooks.UpdateHook([])


class EngineHandler(ProxyConnectionHandler):
    """Speaks to mitmproxy's layers exactly as ProxyConnectionHandler does.

    Its connections to providers come from the worker's pool, and speak TLS below the layers.
    """

    does_tls = True
    timeout_watchdog: Watchdog  # type: ignore[assignment]

    def __init__(self, master: "EngineMaster", line: ClientLine, mode: ProxyMode) -> None:
        super().__init__(master, None, line.writer, master.options, mode)  # type: ignore[no-untyped-call]
        self.attendance = Attendance(self, line)
        self.timeout_watchdog = Watchdog(master.options.tcp_timeout, self.attendance.time_out)
        self._hooks = cast(HookTable, self.master.addons)
        self.pool = master.pool
        self._waiting: deque[events.Event] = deque()
        self._is_at_work = True  # Until it opens up.
        self._is_flat = False
        self._unsent: dict[Connection, list[bytes]] = {}
        self._begun: set[commands.StartHook] = set()

    async def handle_client(self) -> None:
        """Serve the client until its connection has ended."""
        await self.attendance.run()

    # Events and commands

    def open_up(self) -> None:
        """Begin to take events; those that came too early are next."""
        self._waiting.appendleft(events.Start())
        self._work()

    async def server_event(self, event: events.Event) -> None:
        """Take an event. If one is being handled, as when a hook raises another, it comes after that."""
        self.take_event(event)

    def take_event(self, event: events.Event) -> None:
        """Do what `server_event` does, for whoever is no coroutine."""
        self._waiting.append(event)
        if not self._is_at_work:
            self._work()

    def _work(self) -> None:
        self._is_at_work = True
        try:
            while self._waiting:
                self._handle(self._waiting.popleft())
        finally:
            self._is_at_work = False
            for connection in list(self._unsent):
                self._write_out(connection)

    def _handle(self, event: events.Event) -> None:
        self.timeout_watchdog.register_activity()
        if not self._is_flat:
            self._flatten()
        try:
            for command in self.layer.handle_event(event):
                kind: Any = type(command)
                executor_of(kind)(self, command)
        except Exception:
            self.log("mitmproxy has crashed!", logging.ERROR, exc_info=True)

    def _flatten(self) -> None:
        """Once it is chosen what the client speaks, talk to that layer itself: the two above only hand on."""
        choice = getattr(self.layer, "child_layer", None)
        if isinstance(self.layer, ReverseProxy) and isinstance(choice, NextLayer) and choice._handle is not None:
            self.layer, self._is_flat = choice.layer, True  # type: ignore[assignment]

    def _open(self, command: commands.OpenConnection) -> None:
        self.transports[command.connection] = ConnectionIO()
        dial = Dial(self, command)
        name = f"server connection handler {command.connection.address}"
        task = self.start(dial.run(), name)
        if (transport := self.transports.get(command.connection)) is not None:
            transport.handler = task

    def _plan_wakeup(self, command: commands.RequestWakeup) -> None:
        self.wakeup_timer.add(self.start(self.wakeup(command), f"wakeup timer ({command.delay:.1f}s)"))

    def _send(self, command: commands.SendData) -> None:
        if command.connection in self.transports:
            self._unsent.setdefault(command.connection, []).append(command.data)

    def _close(self, command: commands.CloseConnection) -> None:
        if command.connection in self.transports:
            self._write_out(command.connection)
            is_half = isinstance(command, commands.CloseTcpConnection) and command.half_close
            self.close_connection(command.connection, is_half)

    def _ignore(self, command: commands.ConnectionCommand) -> None:
        if command.connection in self.transports:
            raise RuntimeError(f"Unexpected command: {command}")

    def _log(self, command: commands.Log) -> None:
        self.log(command.message, command.level)

    def _write_out(self, connection: Connection) -> None:
        parts = self._unsent.pop(connection, None)
        transport = self.transports.get(connection)
        if parts and transport is not None and transport.writer is not None and not transport.writer.is_closing():
            transport.writer.write(parts[0] if len(parts) == 1 else b"".join(parts))

    # Hooks

    def _start_hook(self, hook: commands.StartHook) -> None:
        if hook not in self._begun and self.call_hook(hook) and hook.blocking:
            self._waiting.append(events.HookCompleted(hook))
        self._begun.discard(hook)

    def call_hook(self, hook: commands.StartHook) -> bool:
        """Call who listens, and tell whether all is done. If not, yield the hook as ever, to be told when it is."""
        steps = self._hooks.call(hook)
        pending = next(steps, None)
        if pending is None and not self._is_held(hook):
            return True
        self._begun.add(hook)
        task = asyncio.get_running_loop().create_task(self._finish_hook(hook, steps, pending))
        if not task.done():
            _hook_tasks.add(task)
            task.add_done_callback(_hook_tasks.discard)
        return False

    def _is_held(self, hook: commands.StartHook) -> bool:
        """Whether there is more to do when all have been called: somebody intercepts the flow, or wants updates."""
        (subject,) = arguments_of(hook)
        return isinstance(subject, flow.Flow) and (subject.intercepted or self._hooks.has_listeners(_ANY_UPDATE))

    async def _finish_hook(self, hook: commands.StartHook, steps: Steps, pending: Awaitable[None] | None) -> None:
        with self.timeout_watchdog.disarm():
            await finish(steps, pending)
            (subject,) = arguments_of(hook)
            if self._is_held(hook):
                await self._hooks.trigger_event(_update(subject))
                await subject.wait_for_resume()
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Call who listens to what happens to connections, and wait for them. Flows' hooks are commands."""
        steps = self._hooks.call(hook)
        pending = next(steps, None)
        if pending is not None:
            with self.timeout_watchdog.disarm():
                await finish(steps, pending)

    # Connections

    def forget(self, connection: Connection) -> ConnectionIO | None:
        """Send what is to be sent on a connection, and know it no longer."""
        self._write_out(connection)
        return self.transports.pop(connection, None)

    def hang_up(self, connection: Connection) -> None:
        """Forget a connection and close its socket."""
        transport = self.forget(connection)
        if transport is not None and transport.writer is not None:
            try:
                transport.writer.close()
            except OSError:
                pass

    def start(self, steps: Any, name: str) -> "asyncio.Task[None]":
        """Run something for this client in a task."""
        return asyncio_utils.create_task(steps, name=name, keep_ref=False, client=self.client.peername)


def _update(subject: flow.Flow) -> hooks.UpdateHook:
    return hooks.UpdateHook([subject])


type Executor = Callable[[EngineHandler, Any], None]

_EXECUTORS: tuple[tuple[type, Executor], ...] = (
    (commands.OpenConnection, EngineHandler._open),
    (commands.RequestWakeup, EngineHandler._plan_wakeup),
    (commands.SendData, EngineHandler._send),
    (commands.CloseConnection, EngineHandler._close),
    (commands.ConnectionCommand, EngineHandler._ignore),
    (commands.StartHook, EngineHandler._start_hook),
    (commands.Log, EngineHandler._log),
)


@cache
def executor_of(kind: Hashable) -> Executor:
    """Return what executes a kind of command. Raises RuntimeError for what is none."""
    for known, executor in _EXECUTORS:
        if issubclass(cast(type, kind), known):
            return executor
    raise RuntimeError(f"Unexpected command: {kind}")
