"""A relay before PostgreSQL that loses commits: the request on its way there, or the answer on its way back."""

import contextlib
import socket
import threading
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
import sqlalchemy as sa


class Lost(Enum):
    """What is lost of the next commit."""

    REQUEST = 1
    ANSWER = 2


class CommitRelay:
    """Listens on a free port of 127.0.0.1; `lose` holds what is to be lost of the commits to come, in their order.

    After `closed` is set, no new connection is taken either.
    """

    def __init__(self, postgres_url: str) -> None:
        with psycopg.connect(postgres_url) as connection:
            self._target = f"{connection.info.host}/.s.PGSQL.{connection.info.port}"
        url = sa.make_url(postgres_url)
        self.lose: list[Lost] = []
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = f"{quote(url.username or '')}:{quote(url.password or '')}@" if url.username else ""
        self.url = f"postgresql://{user}127.0.0.1:{port}/{url.database}?sslmode=disable&gssencmode=disable"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.closed.is_set():
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        is_losing = threading.Event()
        threading.Thread(target=_down, args=(server, client, is_losing), daemon=True).start()
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                lost = self.lose.pop(0) if b"COMMIT" in piece and self.lose else None
                if lost is Lost.ANSWER:
                    is_losing.set()
                if lost is Lost.REQUEST:
                    break
                server.sendall(piece)
        _end(server)
        _end(client)


def _down(server: socket.socket, client: socket.socket, is_losing: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while piece := server.recv(65536):
            if is_losing.is_set():
                break
            client.sendall(piece)
    _end(client)
    _end(server)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
