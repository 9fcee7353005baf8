"""Serves the provider with uvicorn until SIGTERM or SIGINT, or while a ``with`` block lasts."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator

import uvicorn

from manager.mock_provider.app import create_app
from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour
from manager.mock_provider.connection import Connection

_GRACE_S = 0.5
_KEEP_ALIVE_S = 75
_BACKLOG = 2048
_CUT_ON_PURPOSE = "ASGI callable returned without completing response."

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

type Announce = Callable[[str], None]


def print_url(url: str) -> None:
    """Says on standard output, in one line, where the provider listens."""
    print(f"mock provider listening on {url}", flush=True)


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    behaviour: Behaviour = WELL_BEHAVED,
    accepted_keys: Collection[str] = (),
    announce: Announce = print_url,
) -> None:
    """Serves on ``host``:``port`` (0: a free port) until SIGTERM or SIGINT, then returns.

    ``announce`` is called once, with ``http://host:port``, when connections are accepted. On a signal,
    answers under way have half a second to end, then they are cut.
    Raises OSError if the address cannot be bound.
    """
    with _listening(host, port) as listener:
        _server(behaviour, accepted_keys, announce).run(sockets=[listener])


@contextlib.contextmanager
def serving(behaviour: Behaviour = WELL_BEHAVED, accepted_keys: Collection[str] = ()) -> Iterator[str]:
    """Serves in a thread, on a free port of 127.0.0.1, while the block runs; gives its ``http://127.0.0.1:port``."""
    with _listening("127.0.0.1", 0) as listener:
        ready = threading.Event()
        server = _server(behaviour, accepted_keys, lambda _: ready.set())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="mock-provider")
        thread.start()
        try:
            ready.wait()
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(behaviour: Behaviour, accepted_keys: Collection[str], announce: Announce) -> "_Server":
    logging.getLogger("uvicorn.error").addFilter(_not_cut_on_purpose)
    app = create_app(behaviour, accepted_keys)
    config = uvicorn.Config(
        app,
        http=Connection,
        loop="uvloop",
        ws="wsproto",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    return _Server(config, announce)


def _not_cut_on_purpose(record: logging.LogRecord) -> bool:
    """An answer cut on purpose looks to uvicorn like a faulty application; that one line is not logged."""
    return record.msg != _CUT_ON_PURPOSE


class _Server(uvicorn.Server):
    """uvicorn, which announces its address and does not wait for open streams at its end."""

    def __init__(self, config: uvicorn.Config, announce: Announce) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            self._announce(_url(listener))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cut = asyncio.get_running_loop().call_later(_GRACE_S, self._cut_connections)
        await super().shutdown(sockets)
        cut.cancel()

    def _cut_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends the serving on a signal without raising it again, as uvicorn would: the caller goes on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
