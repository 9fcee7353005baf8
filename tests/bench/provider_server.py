"""The provider of the benchmark, `python -O -m tests.bench.provider_server`: little work for each answer.

It takes `answers.PROVIDER_KEY` alone, so that a key which was not swapped is seen, and does what the model's name says.
`GET /count` tells how many chats it has answered.
"""

import argparse
import asyncio
import gc
import re
import signal
import ssl
from functools import cache
from typing import cast

import uvloop

from tests.bench import answers

BACKLOG = 4096
# How long an idle connection is kept where it is not kept for good.
KEPT_SECONDS = 0.05
# So much of a request is kept; the model's name stands in it.
_KEPT_BYTES = 4096
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = answers.PROVIDER_KEY.encode()
_REFUSAL = answers.whole("401 Unauthorized", b'{"error":{"message":"not the provider\'s key","code":"wrong_key"}}')
_UNKNOWN = answers.whole("400 Bad Request", b'{"error":{"message":"unknown model","code":"unknown_model"}}')
_chat = cache(answers.chat)


class Counter:
    """How many chats were answered."""

    def __init__(self) -> None:
        self.chats = 0


class Exchange(asyncio.Protocol):
    """One connection: a request after the other."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._start = b""
        self._missing = -1  # Bytes of the body that have not come; -1 while the head has not.
        self._stream: Stream | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._stream is not None:
            self._stream.stop()

    def pause_writing(self) -> None:
        if self._stream is not None:
            self._stream.is_held = True

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._stream.release()

    def data_received(self, data: bytes) -> None:
        if len(self._start) < _KEPT_BYTES:
            self._start += data
        if self._missing >= 0:
            self._missing -= len(data)
        elif (end := self._start.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._start, 0, end)
            self._missing = (int(length[1]) if length else 0) - (len(self._start) - end - 4)
        if self._missing == 0:
            request, self._start, self._missing = self._start, b"", -1
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET /count "):
            self._transport.write(answers.whole("200 OK", b"%d" % self._counter.chats))
        elif _KEY not in request:
            self._transport.write(_REFUSAL)
        elif (wish := answers.wanted(request)) is None:
            self._transport.write(_UNKNOWN)
        else:
            self._counter.chats += 1
            kind, amount, rate = wish
            if kind == "sse":
                self._stream = Stream(self._transport, amount, rate)
            else:
                self._transport.write(_chat(amount))
            if kind == "once":
                asyncio.get_running_loop().call_later(KEPT_SECONDS, self._transport.close)


class Stream:
    """One answer of so many chunks at so many each second; 0 is as fast as the connection takes them."""

    def __init__(self, transport: asyncio.Transport, chunks: int, per_second: int) -> None:
        self._transport = transport
        self._left = chunks
        self._pause = 1 / per_second if per_second else 0.0
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.is_held = False
        self._write(answers.STREAM_HEAD + answers.stream_chunk())

    def stop(self) -> None:
        """Send nothing any more."""
        self._left = 0
        if self._timer is not None:
            self._timer.cancel()

    def release(self) -> None:
        """Go on after the connection was full."""
        self.is_held = False
        if self._timer is None and self._left:
            self._plan()

    def _write(self, piece: bytes) -> None:
        self._left -= 1
        self._transport.write(piece if self._left else piece + answers.STREAM_END)
        if self._left and not self.is_held:
            self._plan()

    def _plan(self) -> None:
        self._due += self._pause
        self._timer = self._loop.call_at(self._due, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._left:
            self._write(answers.stream_chunk())


async def _serve(chosen: argparse.Namespace) -> None:
    loop, counter = asyncio.get_running_loop(), Counter()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chosen.certificate)
    host = "127.0.0.1"
    plain = await loop.create_server(lambda: Exchange(counter), host, chosen.port, backlog=BACKLOG)
    secure = await loop.create_server(lambda: Exchange(counter), host, chosen.tls_port, backlog=BACKLOG, ssl=tls)
    async with plain, secure:
        gc.freeze()
        await stopped.wait()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="tests.bench.provider_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-port", type=int, required=True)
    parser.add_argument("--certificate", required=True, help="PEM file with private key and certificate")
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(chosen))


if __name__ == "__main__":
    main()
