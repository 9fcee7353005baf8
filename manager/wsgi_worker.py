"""gunicorn's threaded worker, made patient with clients that are slow, and curt with those that are malformed.

A thread of gunicorn's waits for a request's head as long as the client likes, so a handful of half-sent heads would
block everybody. Here many threads wait for heads, none for long, and as many as the settings say serve requests.
An answer that goes on for long gives up its place among these while it waits; see manager/rests.py.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from manager.api.problems import MEDIA_TYPE, problem
from manager.rests import KEY
from shared import logs

# Waiting costs a thread, but next to no time.
READERS = 256
READ_SECONDS = 5.0
# How long a client of an answer that goes on may take none of it; its connection may be gone without a word.
STALL_SECONDS = 10.0

_STATUS = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    # Headers of our own answers, and our configuration: no fault of the client's.
    errors.InvalidResponseHeader: 500,
    errors.InvalidResponseHeaderName: 500,
    errors.ConfigurationProblem: 500,
}
log = logs.get("wsgi")


def status_of(error: Exception) -> int:
    """Return the status that answers an error of gunicorn's: what it cannot read is the client's fault."""
    return _STATUS.get(type(error), 400 if isinstance(error, errors.ParseException) else 500)


def raw_problem(status: int) -> bytes:
    """Return a whole HTTP/1.1 answer with a problem document; it quotes nothing of the request."""
    title = HTTPStatus(status).phrase
    body = problem(status, None, HTTPStatus(status).description or f"{title}.").get_data()
    head = f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nCache-Control: no-store\r\n"
    return f"{head}Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def time_limit(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Let a socket be read for some seconds: then it looks as if the client had gone. It can still be written to."""

    def stop_reading() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RD)

    timer = threading.Timer(seconds, stop_reading)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Worker(ThreadWorker):  # type: ignore[misc]
    """Reads the heads of many requests side by side, and serves `threads` of them at a time."""

    wsgi: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._serving = threading.BoundedSemaphore(self.cfg.threads)
        self._is_stopping = threading.Event()

    def load_wsgi(self) -> None:
        """Load the app, and let its answers rest."""
        super().load_wsgi()
        app = self.wsgi

        def resting(environ: dict[str, Any], start_response: Any) -> Any:
            environ[KEY] = partial(self._rest, environ["gunicorn.socket"])
            return app(environ, start_response)

        self.wsgi = resting

    def _rest(self, sock: socket.socket, seconds: float) -> bool:
        """Wait while others are served, and tell whether the server goes on."""
        sock.settimeout(STALL_SECONDS)
        self._serving.release()
        try:
            return not self._is_stopping.wait(seconds)
        finally:
            self._serving.acquire()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop, and wake whoever rests."""
        self._is_stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once, as above."""
        self._is_stopping.set()
        super().handle_quit(sig, frame)

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads that read."""
        return ThreadPoolExecutor(READERS)

    def handle(self, conn: Any) -> Any:
        """Read a request and have it served, if it comes in time."""
        with time_limit(conn.sock, READ_SECONDS):
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request whose head has come; its body is read when it is wanted."""
        with self._serving:
            try:
                return super().handle_request(req, conn)
            except TimeoutError:  # See STALL_SECONDS.
                return False

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # The request has been answered. If its body turns out to be malformed now, there must not be a second answer.
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except errors.ParseException:
            return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what gunicorn could not read, or what the app left unanswered, in our own shape."""
        status = status_of(exc)
        if status == 500:
            log.error("unforeseen_error", exc_info=exc)
        else:
            log.warning("malformed_request", status=status, reason=type(exc).__name__)
        with contextlib.suppress(OSError):
            util.write_nonblock(client, raw_problem(status))
