"""The lines to one provider: those that nobody uses, those that are lent, and who waits for one."""

import asyncio
import ssl
from dataclasses import dataclass

from addons.engine.line import GOODBYE_SECONDS, Line, User
from addons.failure import CROWDED

# A line that its client has not used for so long may serve another one, in seconds. Shorter, and clients that ask
# one thing after the other would take each other's lines away all the time.
SETTLED_SECONDS = 0.1


class Crowded(Exception):
    """All connections that may be open are in use, and as many requests as may wait for one do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Per worker and origin: open connections, requests waiting for one; seconds of idleness, and of life."""

    connections: int = 1000
    queue: int = 1000
    idle_seconds: float = 30.0
    age_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads, and as whom: two with different contexts trust others or show other certificates."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str | None = None


class ProviderLines:
    """Lends lines, at most `connections` at a time; a new one is opened only if none is free."""

    def __init__(self, origin: Origin, limits: Limits) -> None:
        self._origin = origin
        self._limits = limits
        self._clock = asyncio.get_running_loop().time
        self._permits = asyncio.Semaphore(limits.connections)
        self.waiting = 0
        self.free: list[Line] = []  # The last one was used last.
        self.lent: dict[Line, User] = {}
        self.dialing = 0
        self.is_closed = False

    @property
    def is_unused(self) -> bool:
        """Whether nothing is open, wanted or waited for."""
        return not (self.free or self.lent or self.dialing or self.waiting)

    async def borrow(self) -> tuple[Line, bool]:
        """Return an open line, and whether it has served before. Give it back, or close it and say so by `forget`.

        Raises Crowded, or OSError and ValueError if it cannot be opened.
        """
        await self._take_permit()
        try:
            if (line := self._free_line()) is not None:
                return line, True
            return await self._dial(), False
        except BaseException:
            self._permits.release()
            raise

    def hand_out(self, line: Line, user: User) -> None:
        """A borrowed line is used from now on."""
        line.user = self.lent[line] = user

    def give_back(self, line: Line) -> None:
        """A user has let an idle line go."""
        self.lent.pop(line)
        line.user = None
        line.resume()
        if self.is_closed or self.is_over_age(line) or line.writer.is_closing():
            line.close()  # Whether more has come than was asked for is looked at when the next one wants it.
        else:
            self.free.append(line)
        self._permits.release()

    def forget(self, line: Line) -> None:
        """A user has closed a line."""
        self.lent.pop(line, None)
        line.user = None
        line.close()
        self._permits.release()

    # Line's keeper

    def after_data(self, line: Line) -> None:
        """Take a line from a user who has all of an answer, if others wait or the line is too old."""
        if (self.waiting or self.is_over_age(line)) and line.user is not None and line.user.is_idle:
            line.user.let_go()

    def lost(self, line: Line) -> None:
        """A line has ended; if somebody used it, that one has been told."""
        if line in self.free:
            self.free.remove(line)

    # Looking after them

    def is_over_age(self, line: Line) -> bool:
        """Tell whether a line has lived for long enough."""
        return self._clock() - line.opened >= self._limits.age_seconds

    def sweep(self) -> None:
        """Close what is idle for too long or too old; give what lies idle to those who wait."""
        for line in [line for line in self.free if self._is_done(line)]:
            self.free.remove(line)
            line.close()
        for line, user in list(self.lent.items()):
            if user.is_idle and (self.waiting or self._is_done(line)):
                user.let_go()

    def close(self) -> None:
        """Close what nobody uses, now and from now on."""
        self.is_closed = True
        while self.free:
            self.free.pop().close()

    def _is_done(self, line: Line) -> bool:
        return self._clock() - line.touched >= self._limits.idle_seconds or self.is_over_age(line)

    async def _take_permit(self) -> None:
        if self._permits.locked():
            self._take_away(0.0)
        if self._permits.locked():
            if self.waiting >= self._limits.queue:
                raise Crowded
            self.waiting += 1
            try:
                await self._permits.acquire()
            except asyncio.CancelledError:
                raise asyncio.CancelledError(CROWDED) from None  # No time is left, which is not the provider's fault.
            finally:
                self.waiting -= 1
        else:
            await self._permits.acquire()

    def _free_line(self) -> Line | None:
        if not self.free:
            self._take_away(SETTLED_SECONDS)
        while self.free:
            line = self.free.pop()
            if line.is_quiet and not self._is_done(line):
                return line
            line.close()
        return None

    def _take_away(self, seconds: float) -> None:
        """Free a line that some client has not used for this long."""
        now = self._clock()
        for line, user in self.lent.items():
            if now - line.touched >= seconds and user.is_idle:
                user.let_go()
                return

    async def _dial(self) -> Line:
        origin, is_tls = self._origin, self._origin.tls is not None
        line = Line(self, is_tls)
        self.dialing += 1
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: line,
                origin.host,
                origin.port,
                ssl=origin.tls,
                server_hostname=origin.name if is_tls else None,
                ssl_shutdown_timeout=GOODBYE_SECONDS if is_tls else None,
            )
        except BaseException:
            line.close()
            raise
        finally:
            self.dialing -= 1
        return line
