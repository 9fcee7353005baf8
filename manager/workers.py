"""The workers of one proxy port: kept running, replaced without a dropped request, drained when that is wanted.

Each has a listening socket of its own (SO_REUSEPORT: the kernel spreads connections over them), which is opened here
and outlives it: what has connected while a worker is being replaced waits for the next one and is not reset.
"""

import socket
import time
from dataclasses import dataclass

from manager import programs
from manager.ready_pipe import ReadyPipe
from manager.supervisor import Program, StartError, Supervisor
from shared import logs
from shared.settings import Settings

PAUSE_SECONDS = 0.05

log = logs.get("workers")


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind a port that others may bind, too, on every address of a host, all for an empty one. Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [_bound(family, address) for family, _, _, _, address in found]


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


@dataclass(frozen=True)
class _Generation:
    """Workers that were started together."""

    supervisor: Supervisor
    readiness: list[ReadyPipe]

    def forget(self) -> None:
        for each in self.readiness:
            each.close()


class Workers:
    """`count` workers on one port. Raises OSError if it cannot be bound."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._count = count
        self._slots = self._bound()
        self._current: _Generation | None = None
        self._leaving: list[_Generation] = []

    def start(self) -> None:
        """Start the workers and wait until all listen. Raises StartError."""
        self._current = self._launch()

    def reload(self) -> str:
        """Start new workers, then let the old ones finish; if the new ones fail to start, the old ones stay.

        What was drained serves again. Returns why it failed, nothing if it did not.
        """
        try:
            self._slots = self._slots or self._bound()
            fresh = self._launch()
        except (StartError, OSError) as error:
            log.error("reload_failed", reason=str(error))
            if self._current is None:
                self._release()
            return str(error)
        if self._current is not None:
            self._current.supervisor.begin_stop()
            self._leaving.append(self._current)
        self._current = fresh
        log.info("reloaded", workers=fresh.supervisor.pids())
        return ""

    def pids(self) -> dict[str, int]:
        """Return the process ids of the workers that take new connections."""
        return self._current.supervisor.pids() if self._current else {}

    def tend(self) -> None:
        """Restart what has crashed, and forget what has left. Call it again and again."""
        if self._current is not None:
            self._current.supervisor.tend()
        for generation in [each for each in self._leaving if each.supervisor.is_stopped()]:
            generation.forget()
            self._leaving.remove(generation)

    def drain(self) -> None:
        """Take no more connections, and let requests finish. Go on with `tend` and `is_drained`."""
        self._release()
        if self._current is not None:
            self._current.supervisor.begin_stop()
            self._leaving.append(self._current)
            self._current = None

    def is_drained(self) -> bool:
        """Tell whether no worker is left."""
        return self._current is None and not self._leaving

    def stop(self) -> None:
        """Take no more connections, and return when all requests have ended, or their time has."""
        self.drain()
        while not self.is_drained():
            self.tend()
            time.sleep(PAUSE_SECONDS)

    def _bound(self) -> list[list[socket.socket]]:
        return [bound_sockets(self._settings.listen_host, self._settings.proxy_port) for _ in range(self._count)]

    def _release(self) -> None:
        for sockets in self._slots:
            for each in sockets:
                each.close()
        self._slots = []

    def _launch(self) -> _Generation:
        readiness = [ReadyPipe() for _ in self._slots]
        generation = _Generation(Supervisor(None), readiness)
        try:
            generation.supervisor.start(*[self._program(number, readiness[number]) for number in range(len(readiness))])
        except BaseException:
            generation.supervisor.stop()
            generation.forget()
            raise
        return generation

    def _program(self, number: int, readiness: ReadyPipe) -> Program:
        descriptors = [each.fileno() for each in self._slots[number]]
        return programs.worker(self._settings, number + 1, descriptors, readiness)
