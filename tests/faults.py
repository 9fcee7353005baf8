"""A TCP proxy that does to a conversation what networks and broken servers do; for tests, between real sockets.

with FaultProxy("127.0.0.1", 8090, Fault(reset_at=100)) as proxy:
    requests.get(f"{proxy.url}/v1/models")   # reset after 100 bytes of the answer
    proxy.fault = Fault()                    # from now on all is well
    assert (proxy.opened, proxy.open) == (1, 0)
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

GARBAGE = b"\x00\xffPTTH 1.1/OK two hundred\r\n\r\n"

_PIECE = 64 * 1024
_LIMIT_S = 10.0
_ABRUPT = struct.pack("ii", 1, 0)
_LENGTH = re.compile(rb"(\r\ncontent-length: *)(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong; the default is nothing. Byte N counts what one connection has answered, from 0.

    ``delay_s``: each piece of the answer comes so much later. ``bytes_per_s``, ``upload_bytes_per_s``: at most this
    fast to the client, to the target. ``reset_at``: RST at byte N. ``finish_at``: FIN at byte N, the other direction
    stays open. ``stall_at``: silence from byte N on. (With 0, the target has the request, and begins to answer.)
    ``refuse``: connections are refused. ``mute``: they are accepted, and nothing ever comes back; the target is not
    asked. ``garbage``: those bytes are the answer, then FIN; the target is not asked (``GARBAGE`` is no status line).
    ``length_off``: this is added to the declared length of the first answer of a connection; declared too large, it
    ends with FIN. ``endless_headers``, ``endless_body``: a 200 that never ends; the target is not asked.
    ``idle_close_s``: a connection on which nothing moves for so long is closed.
    """

    delay_s: float = 0
    bytes_per_s: float | None = None
    upload_bytes_per_s: float | None = None
    reset_at: int | None = None
    finish_at: int | None = None
    stall_at: int | None = None
    refuse: bool = False
    mute: bool = False
    garbage: bytes = b""
    length_off: int = 0
    endless_headers: bool = False
    endless_body: bool = False
    idle_close_s: float | None = None


class FaultProxy:
    """Listens on a free port of 127.0.0.1, in a thread of its own, while the ``with`` block lasts.

    ``fault`` may be set at any time; it is for new connections, and for the pieces still to come of those open.
    ``opened`` counts the connections accepted so far, ``open`` those of now.
    """

    def __init__(self, host: str, port: int, fault: Fault | None = None) -> None:
        self.target = (host, port)
        self.opened = 0
        self._fault = fault or Fault()
        self._links: set[asyncio.Task[None]] = set()
        self._listener = _bound(0)
        self.port = int(self._listener.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"fault-proxy-{self.port}")

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._links)

    @property
    def fault(self) -> Fault:
        """What goes wrong now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        self._do(self._listen())

    def drop(self) -> None:
        """Resets every connection open now."""
        self._do(self._end_links())

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive(), "the fault proxy did not end"

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    async def _listen(self) -> None:
        """Listens, or, to refuse, keeps the port bound without listening."""
        if self._fault.refuse and self._server is not None:
            self._server.close()
            self._server, self._listener = None, _bound(self.port)
        elif not self._fault.refuse and self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=self._listener, backlog=1024)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        self._listener.close()
        await self._end_links()
        await self._loop.shutdown_default_executor()

    async def _end_links(self) -> None:
        links = [link for link in self._links if link.cancel()]
        await asyncio.gather(*links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.opened += 1
        self._links.add(task)
        try:
            await _Link(self, reader, writer).serve()
        except asyncio.CancelledError:
            _reset(writer)
        except OSError:
            writer.transport.abort()
        finally:
            self._links.discard(task)


class _Link:
    """One connection of a client and, unless it is answered here, its connection to the target."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._answered = 0
        self._moved = _now()
        _keep_no_backlog(writer)

    async def serve(self) -> None:
        """Until the conversation is over, one way or the other; both connections are closed then."""
        try:
            if endless := _endless(self._proxy.fault):
                await self._answer_here(endless)
            else:
                await self._relay()
        finally:
            self._writer.close()

    async def _answer_here(self, pieces: Iterator[bytes]) -> None:
        """Says this once a request has come, and then nothing until the client has left."""
        if not await self._reader.read(_PIECE):
            return
        left = asyncio.ensure_future(self._ignore_client())
        try:
            for piece in pieces:
                if left.done():
                    return
                await self._write(self._writer, piece, self._proxy.fault.bytes_per_s)
            if not self._proxy.fault.mute:
                self._writer.write_eof()
            await left
        finally:
            left.cancel()

    async def _ignore_client(self) -> None:
        while await self._reader.read(_PIECE):
            pass

    async def _relay(self) -> None:
        reader, writer = await asyncio.open_connection(*self._proxy.target)
        _keep_no_backlog(writer)
        ways = [asyncio.ensure_future(way) for way in (self._ask(writer), self._answer(reader), self._watch())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        """Passes on what the client says; never ends by itself, as a client that has said all may still listen."""
        while piece := await self._reader.read(_PIECE):
            await self._write(writer, piece, self._proxy.fault.upload_bytes_per_s)
        writer.write_eof()
        await asyncio.Event().wait()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        finish = None
        if off := self._proxy.fault.length_off:
            head, finish = _misdeclared(await _head(reader), off)
            await self._pass_on(head)
        while piece := await reader.read(_PIECE):
            if finish is not None:
                piece = piece[: finish - self._answered]
            if not await self._pass_on(piece) or self._answered == finish:
                return

    async def _pass_on(self, piece: bytes) -> bool:
        """Passes it on as far as the fault allows; False when the answer has been ended before its end."""
        fault = self._proxy.fault
        await asyncio.sleep(fault.delay_s)
        end = min((at for at in (fault.reset_at, fault.finish_at, fault.stall_at) if at is not None), default=None)
        allowed = piece if end is None else piece[: max(0, end - self._answered)]
        await self._write(self._writer, allowed, fault.bytes_per_s)
        self._answered += len(allowed)
        if end is None or self._answered < end:
            return True
        if end == fault.reset_at:
            _reset(self._writer)
            return False
        if end == fault.finish_at:
            self._writer.write_eof()
        await self._client_left()
        return False

    async def _client_left(self) -> None:
        """Until the client has closed its side; ``_ask`` is reading from it."""
        while not self._reader.at_eof():
            await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        """Until nothing has moved for ``idle_close_s``; without it, for ever."""
        while (most := self._proxy.fault.idle_close_s) is None or _now() - self._moved < most:
            await asyncio.sleep(0.01)

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes, per_s: float | None) -> None:
        size = _PIECE if per_s is None else max(1, int(per_s / 50))
        for start in range(0, len(piece), size):
            part = piece[start : start + size]
            writer.write(part)
            await writer.drain()
            self._moved = _now()
            if per_s is not None:
                await asyncio.sleep(len(part) / per_s)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _bound(port: int) -> socket.socket:
    """A socket with a port (0: a free one) that does not listen yet: connections to it are refused."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _keep_no_backlog(writer: asyncio.StreamWriter) -> None:
    """What was written has left when ``drain`` returns, so that byte N is where a fault strikes."""
    writer.transport.set_write_buffer_limits(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
    writer.transport.abort()


def _endless(fault: Fault) -> Iterator[bytes] | None:
    """What is answered in the target's place, if it is not to be asked."""
    for wanted, pieces in _IN_ITS_PLACE:
        if wanted(fault):
            return pieces(fault)
    return None


def _without_end(head: bytes, more: bytes) -> Iterator[bytes]:
    yield head
    while True:
        yield more


_IN_ITS_PLACE: tuple[tuple[Callable[[Fault], object], Callable[[Fault], Iterator[bytes]]], ...] = (
    (lambda fault: fault.mute, lambda _: iter(())),
    (lambda fault: fault.garbage, lambda fault: iter((fault.garbage,))),
    (
        lambda fault: fault.endless_headers,
        lambda _: _without_end(b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"m" * 100 + b"\r\n"),
    ),
    (
        lambda fault: fault.endless_body,
        lambda _: _without_end(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"400\r\n%b\r\n" % (b"b" * 1024)
        ),
    ),
)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The answer up to its empty line; what has come if there is none."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        return cut.partial


def _misdeclared(head: bytes, off: int) -> tuple[bytes, int | None]:
    """The head with a wrong content-length, and after how many bytes, with the head, to end if that was too large."""
    declared = _LENGTH.search(head)
    if declared is None:
        return head, None
    length = int(declared[2])
    wrong = _LENGTH.sub(rb"\g<1>%d" % max(0, length + off), head, count=1)
    return wrong, len(wrong) + length if off > 0 else None
