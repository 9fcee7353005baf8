"""A manager as it runs in life: a process of its own, with two threads, and without Redis."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from manager import db
from shared import settings
from shared.sealing import generate_key
from tests.manager.conftest import NOBODY

TOKEN = settings.generate_secret()


@dataclass(frozen=True)
class Served:
    """Where it listens, its log, and its process."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer to some bytes, after which the client is silent."""
        with self.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), head, body

    def is_up(self) -> bool:
        try:
            return self.ask(b"GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
        except OSError:
            return False


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Start one in a folder, with the management token `TOKEN`; stop it afterwards."""
    db.migrate(f"sqlite:///{folder}/llm-proxy.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {"MANAGEMENT_TOKEN": TOKEN, "TOKEN_PEPPER": settings.generate_secret()}
    given |= {"ENCRYPTION_KEYS": f"k1:{generate_key()}", "LLM_PROXY_DATA_DIR": str(folder), "REDIS_URL": NOBODY}
    given |= {"LLM_PROXY_MANAGER_PORT": str(port), "LLM_PROXY_MANAGER_THREADS": "2"}
    command = [sys.executable, "-m", "manager.cli", "manager"]
    log_path = folder / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, env=settings.child_environment(None, given), stdout=log, stderr=log)
    made = Served(port, log_path, process)
    try:
        deadline = time.monotonic() + 30
        while not made.is_up():
            assert time.monotonic() < deadline and process.poll() is None, log_path.read_text()
            time.sleep(0.05)
        yield made
    finally:
        process.terminate()
        process.wait(20)
