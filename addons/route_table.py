"""Owns the provider table in force, and puts a changed file in its place while requests go on."""

import asyncio
from pathlib import Path

from shared import logs, providers
from shared.providers import ProviderTable, ProviderTableError

log = logs.get("route_table")

# Modification time in nanoseconds, size and inode of a file; None if there is none to be seen.
type Signature = tuple[int, int, int] | None


def signature(path: Path) -> Signature:
    """Return what changes with a file's content, however it was changed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class RouteTable:
    """Rooms read `current` once for each request; what a request has found in it stays valid, since tables are frozen.

    `credential_headers` are those of every table so far: clients of a provider that is gone go on sending their tokens.
    """

    def __init__(self, path: Path | None = None, pause: float = 1.0) -> None:
        """Read the file, or the bundled table for None. `pause` in seconds between looks. Raises ProviderTableError."""
        self._path = path
        self._pause = pause
        self._judged = self._seen = signature(path) if path else None
        self._watcher: asyncio.Task[None] | None = None
        self.current = providers.load(path)
        self.credential_headers = self.current.credential_headers

    def running(self) -> None:
        """Start to watch the file, if there is one."""
        if self._path is not None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def done(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    def check(self) -> None:
        """Look at the file; one that changed is taken when it has come to rest, or refused and the old table kept."""
        if self._path is not None:
            self._look(self._path)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await asyncio.to_thread(self.check)  # Reading a table takes as long as dozens of requests.
            except Exception:
                log.exception("providers_not_checked")  # Else the watch would end, and nobody would know.

    def _look(self, path: Path) -> None:
        found = signature(path)
        is_at_rest, self._seen = found == self._seen, found
        if not is_at_rest or found == self._judged:
            return
        self._judged = found
        try:
            self._put_in_force(providers.load(path))
        except ProviderTableError as error:
            log.error("providers_refused", file=str(path), reason=str(error), in_force=list(self.current.providers))

    def _put_in_force(self, table: ProviderTable) -> None:
        self.credential_headers |= table.credential_headers  # First, so that no token in a new one is ever shown.
        self.current = table
        log.info("providers_in_force", file=str(self._path), providers=list(table.providers))
