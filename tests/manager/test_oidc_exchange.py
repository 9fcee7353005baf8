"""Rules of the token endpoint: how we log in there, and that an issuer that hangs or breaks off holds up nobody."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

from manager.authentication import IssuerAway
from manager.issuer_keys import IssuerKeys
from manager.oidc_attempts import Attempt
from manager.oidc_exchange import MOST_AT_ONCE, Client, Exchange
from tests.manager.issuer import Issuer, Key, serving

KEY = Key("rsa-1")
ATTEMPT = Attempt.begin("https://llm.example/callback", "/ui/")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(KEY) as running:
        yield running


def exchange_of(issuer: Issuer, secret: str = "") -> Exchange:
    return Exchange(Client(issuer.url, "admin-ui", "openid", secret), IssuerKeys(issuer.url))


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """The address of somebody who answers these bytes and hangs up, or says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def test_a_login_of_the_machines_owner_is_not_sent(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    issuer.token_answer = (200, {"id_token": "x"})

    assert exchange_of(issuer).id_token("code", ATTEMPT) == "x"
    assert exchange_of(issuer, "of-the-client").id_token("code", ATTEMPT) == "x"

    [public, confidential] = [call.authorization for call in issuer.exchanged]
    assert public is None and confidential == "Basic YWRtaW4tdWk6b2YtdGhlLWNsaWVudA=="


def test_a_secret_is_shown_by_nobody() -> None:
    assert "of-the-client" not in repr(Client("https://login.example.org", "admin-ui", "openid", "of-the-client"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\n{nonsense",
    ],
    ids=["nothing", "nonsense", "cut", "cut-chunk", "no-gzip"],
)
def test_an_issuer_that_breaks_off_is_away(issuer: Issuer, answer: bytes) -> None:
    with answering(answer) as url:
        issuer.described["token_endpoint"] = url

        with pytest.raises(IssuerAway, match="cannot be reached"):
            exchange_of(issuer).id_token("code", ATTEMPT)
    with answering(answer) as url, pytest.raises(IssuerAway):
        IssuerKeys(url).described()


def test_an_issuer_that_hangs_holds_up_a_few_alone(issuer: Issuer) -> None:
    told: Queue[str] = Queue()

    def try_it() -> None:
        with pytest.raises(IssuerAway) as caught:
            exchange.id_token("code", ATTEMPT)
        told.put(str(caught.value))

    threads = [threading.Thread(target=try_it) for _ in range(MOST_AT_ONCE + 3)]
    with answering(None) as url:
        issuer.described["token_endpoint"] = url
        keys = IssuerKeys(issuer.url)
        keys.described()
        exchange = Exchange(Client(issuer.url, "admin-ui", "openid"), keys)
        for thread in threads:
            thread.start()
        assert all("does not keep up" in told.get(timeout=3) for _ in range(3))
    for thread in threads:
        thread.join()

    assert all("cannot be reached" in told.get_nowait() for _ in range(MOST_AT_ONCE))
