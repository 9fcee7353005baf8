"""Keeps the subjects running that scenarios ask for, and starts fresh ones."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from manager.supervisor import Supervisor
from tests.bench import processes
from tests.bench.endpoint import Endpoint
from tests.bench.services import Services
from tests.bench.subjects import Launch, Launcher, Variant

PLAIN = Variant()
# Subjects are quiet when all together use less than this share of a core.
_QUIET_SHARE = 0.15
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 15.0


class Stage:
    """Subjects by name and variant; each is started when it is first asked for. Raises StartError."""

    def __init__(self, services: Services, launchers: Mapping[str, Launcher]) -> None:
        self.services = services
        self.launchers = launchers
        self._supervisor = Supervisor(services.folder / "logs", start_seconds=120)
        self._endpoints: dict[tuple[str, Variant], Endpoint] = {}

    def endpoint(self, subject: str, variant: Variant = PLAIN) -> Endpoint:
        """Return where a subject listens that stays for the whole run."""
        found = self._endpoints.get((subject, variant))
        if found is None:
            launch = self.launchers[subject](self.services, variant)
            found = self._endpoints[subject, variant] = _started(launch, self._supervisor)
        return found

    @contextmanager
    def fresh(self, subject: str, variant: Variant = PLAIN) -> Iterator[Endpoint]:
        """Start a subject that nobody has used, for the length of a block."""
        supervisor = Supervisor(self.services.folder / "logs", start_seconds=120, stop_seconds=3)
        try:
            yield _started(self.launchers[subject](self.services, variant), supervisor)
        finally:
            supervisor.stop()

    def settle(self) -> None:
        """Wait until nobody works any more on what has been asked before, but not for ever."""
        pids = [pid for endpoint in self._endpoints.values() for pid in endpoint.pids]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            before = processes.time_of(pids)
            time.sleep(_LOOK_SECONDS)
            if (processes.time_of(pids) - before).used < _LOOK_SECONDS * _QUIET_SHARE:
                return

    def stop(self) -> None:
        """Stop all of them, without waiting for what they are still doing."""
        self._supervisor.begin_stop()
        self._supervisor.stop()


def _started(launch: Launch, supervisor: Supervisor) -> Endpoint:
    if launch.program is None:
        return launch.endpoint
    supervisor.start(launch.program)
    pid = supervisor.pids()[launch.program.name]
    return replace(launch.endpoint, pids=tuple(launch.workers(pid)))
