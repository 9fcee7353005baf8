"""The port of a worker: takes client connections, and knows those that are open. Stands in for mitmproxy's Proxyserver.

It listens when everything is running, not before, so that no connection ever meets a half-loaded worker.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.layers.modes import ReverseProxy
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.engine.client_line import ClientLine, Host
from addons.engine.handler import EngineHandler

if TYPE_CHECKING:
    from addons.engine.master import EngineMaster

# Requests go where their project says. If the rooms were ever missing, there must be nowhere else to go.
NOWHERE = "reverse:http://upstream.invalid"
BACKLOG = 1024


class Listener(Proxyserver):
    """Keeps mitmproxy's options and its commands, and opens one TCP port in reverse mode, shared with other workers."""

    name = "proxyserver"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode = ProxyMode.parse(NOWHERE)
        self._servers: list[asyncio.Server] = []
        self._own: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, updated: set[str]) -> None:
        """Check options as mitmproxy does; the mode is fixed."""
        super().configure(updated - {"mode", "server"})

    async def listen(self, host: str, port: int, bound: Sequence[socket.socket] = ()) -> None:
        """Take connections from now on: on sockets that are bound already, or on address and port. Raises OSError."""
        loop = asyncio.get_running_loop()
        for each in bound:
            self._servers.append(await loop.create_server(self._line, sock=each, backlog=BACKLOG))
        if not bound:
            server = await loop.create_server(self._line, host or None, port, reuse_port=True, backlog=BACKLOG)
            self._servers.append(server)
        sockets = [each for server in self._servers for each in server.sockets]
        self._own = {each.getsockname()[:2] for each in sockets}

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._own.clear()

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Refuse to call this very port, as mitmproxy does."""
        host, port = (data.server.address or ("", 0))[:2]
        for own_host, own_port in self._own:
            if port == own_port and host in ("localhost", "127.0.0.1", "::1", own_host):
                data.server.error = "Request destination unknown: it is this proxy itself."

    def _line(self) -> ClientLine:
        return ClientLine(self._welcome)

    def _welcome(self, line: ClientLine) -> Host:
        handler = EngineHandler(cast("EngineMaster", ctx.master), line, self._mode)
        handler.layer = ReverseProxy(handler.layer.context)
        task = handler.start(self._serve(handler), "client handler")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return handler.attendance

    async def _serve(self, handler: EngineHandler) -> None:
        with self.register_connection(handler.client.id, handler):
            await handler.handle_client()
