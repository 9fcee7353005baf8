"""A server whose latencies are known, `python -m tests.bench.known_server`: for a look at who measures them.

`POST /known` is answered after 50 to 400 ms, by chance; `POST /stall` after 5 ms, but once, two seconds after the first
of these, the whole server stands still for a second. `GET /taken` tells how long it has really waited since it was last
asked, in ns; after `GET /restart` it can stand still once more.
"""

import argparse
import asyncio
import json
import random
import time
from typing import cast

from tests.bench import answers

STALL_S = 1.0
_STALL_AFTER_S, _USUAL_S = 2.0, 0.005
_SPREAD = (0.05, 0.4)


class Clock:
    """What has been waited for, and when the server stands still."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self._chance = random.Random(1)  # noqa: S311 - of a load
        self._stall_at = 0.0

    def restart(self) -> None:
        """Stand still once more, two seconds after the next request."""
        self._stall_at = 0.0

    def latency_s(self, path: bytes) -> float:
        """Return how long a request waits; stands still if it is time to."""
        if path == b"/known":
            return min(_SPREAD[1], _SPREAD[0] * self._chance.lognormvariate(0.6, 0.6) + 0.01)
        now = time.monotonic()
        self._stall_at = self._stall_at or now + _STALL_AFTER_S
        if now >= self._stall_at:
            self._stall_at = float("inf")
            time.sleep(STALL_S)
        return _USUAL_S


class Exchange(asyncio.Protocol):
    """One connection: requests that come in one piece each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        came, path = time.monotonic_ns(), data.split(b" ", 2)[1]
        if path == b"/taken":
            self._transport.write(answers.whole("200 OK", json.dumps(self._clock.taken).encode()))
            self._clock.taken.clear()
        elif path == b"/restart":
            self._clock.restart()
            self._transport.write(answers.whole("200 OK", b"{}"))
        else:
            asyncio.get_running_loop().call_later(self._clock.latency_s(path), self._answer, came)

    def _answer(self, came: int) -> None:
        self._clock.taken.append(time.monotonic_ns() - came)
        self._transport.write(answers.whole("200 OK", b"{}"))


async def _serve(port: int) -> None:
    clock = Clock()
    server = await asyncio.get_running_loop().create_server(lambda: Exchange(clock), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="tests.bench.known_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
