"""TLS in front of a server that has none."""

import socket
import ssl
import threading
from pathlib import Path

import trustme

from tests.ports import free_port


class TlsRelay:
    """Passes on what it decrypts, one thread for each direction. Its certificate is for `localhost` and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept)
        self._others: list[threading.Thread] = []

    def start(self, target: int) -> None:
        """Begin to relay to a port of the loopback address."""
        self._target = target
        self._thread.start()

    def stop(self) -> None:
        """End; what is connected has to end by itself."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for thread in self._others:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=(connection,))
            thread.start()
            self._others.append(thread)

    def _relay(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self._target)) as server:
            try:
                client = self._context.wrap_socket(connection, server_side=True)
            except (ssl.SSLError, OSError):
                return
            with client:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
