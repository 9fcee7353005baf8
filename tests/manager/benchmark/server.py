"""A server by hand: answers as a script says, on real sockets, in the test's own event loop or in a thread."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BODY = b'{"ok": true}'


def whole(status: str = "200 OK", body: bytes = BODY, headers: str = "") -> bytes:
    """Return an answer with a length."""
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Say:
    """Bytes after a pause in seconds; `ends` closes the connection after them."""

    data: bytes = field(default_factory=whole)
    after: float = 0.0
    ends: bool = False


type Script = Callable[[int], list[Say]]


@dataclass
class Server:
    """Where it listens, and the requests that it got: heads and bodies. `script` gets a request's number."""

    script: Script
    port: int = 0
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = await reader.readexactly(length)
                number = len(self.requests)
                self.requests.append((head, body))
                for say in self.script(number):
                    await asyncio.sleep(say.after)
                    writer.write(say.data)
                    if say.ends:
                        return
        except (OSError, asyncio.IncompleteReadError):
            pass  # Whoever asked has gone.
        finally:
            writer.close()


@contextmanager
def serving(script: Script = lambda number: [Say()], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve in a thread of its own."""
    server, ready, loop = Server(script), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        made = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        server.port = made.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        made.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
