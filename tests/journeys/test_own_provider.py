"""A provider that stands in a TOML file and nowhere in the code: it works, and its table may change while it does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
import requests

from tests.journeys.conftest import Installation, Token, until
from tests.journeys.parrot import serving

DRIPS = 6


class Acme(BaseHTTPRequestHandler):
    """Answers who has the key in its own header; drips for as long as it is not told to stop."""

    protocol_version = "HTTP/1.1"
    keys: list[str | None] = []  # noqa: RUF012 - one server, one list
    drip = threading.Event()

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers["content-length"]))
        self.keys.append(self.headers["x-acme-key"])
        self._answer(b"acme heard " + body)

    def do_GET(self) -> None:  # noqa: N802
        if self.path != "/acme/drip":
            self._answer(b"new here: " + self.path.encode())
            return
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(DRIPS):
            self.drip.wait(30)
            self.drip.clear()
            self.wfile.write(b"4\r\ndrip\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def acme_url() -> Iterator[str]:
    with serving(Acme) as url:
        yield url


@pytest.fixture
def installation(hurried_installation: Installation) -> Iterator[Installation]:
    """Its table is as it was afterwards."""
    file = hurried_installation.settings.providers_file
    assert file is not None
    before = file.read_text()
    Acme.keys.clear()
    yield hurried_installation
    file.write_text(before)


@pytest.fixture
def token(installation: Installation, acme_url: str, request: pytest.FixtureRequest) -> Token:
    fields = {"provider": "acme", "base_url": acme_url, "api_key": "acme-key-of-this-test"}
    return installation.token(installation.project(request.node.name, **fields))


def test_it_is_served_with_its_key_in_its_own_header_and_metered(installation: Installation, token: Token) -> None:
    bearer = installation.send(token.secret, "POST", "/acme/words", data=b"\x00 any bytes")
    url, headers = f"{installation.proxy_urls[1]}/acme/words", {"X-Acme-Key": token.secret}
    own = requests.post(url, data=b"!", headers=headers, timeout=20)

    assert (bearer.status_code, bearer.content) == (200, b"acme heard \x00 any bytes")
    assert (own.status_code, own.content) == (200, b"acme heard !")
    assert Acme.keys == ["acme-key-of-this-test"] * 2
    rows = installation.usage_of(token, 2)
    assert {(row["provider"], row["route"], row["outcome"], row["total_tokens"]) for row in rows} == {
        ("acme", "words", "finished", None)
    }
    assert [row["response_bytes"] for row in reversed(rows)] == [len(bearer.content), len(own.content)]


def test_a_changed_table_is_in_force_within_seconds_and_drops_no_request(
    installation: Installation, token: Token
) -> None:
    file = installation.settings.providers_file
    assert file is not None
    stream = installation.send(token.secret, path="/acme/drip", stream=True)
    drips = stream.iter_content(4)
    Acme.drip.set()
    assert next(drips) == b"drip"
    assert installation.send(token.secret, path="/acme/new").status_code == 404

    route = '{ name = "new", path = "/acme/new", methods = ["GET"] },'
    drip = '{ name = "drip"'
    file.write_text(file.read_text().replace(drip, f"{route}\n    {drip}"))
    until(
        lambda: {installation.send(token.secret, path="/acme/new", worker=n).status_code for n in (0, 1)} == {200}, 10
    )
    for _ in range(DRIPS - 1):
        Acme.drip.set()
        assert next(drips) == b"drip"

    assert list(drips) == []
    assert until(lambda: [row["outcome"] for row in installation.usage_of(token, 1) if row["route"] == "drip"]) == [
        "finished"
    ]


def test_a_faulty_table_is_refused_with_its_place_and_the_old_one_stays(
    installation: Installation, token: Token
) -> None:
    file = installation.settings.providers_file
    assert file is not None
    refusals = installation.logs("proxy-0").count("providers_refused")

    file.write_text(file.read_text().replace('dialect = "opaque"', 'dialect = "acmese"'))
    until(lambda: installation.logs("proxy-0").count("providers_refused") == refusals + 1, 10)

    [line] = [line for line in installation.logs("proxy-0").splitlines() if "providers_refused" in line][-1:]
    assert "acme" in line and "dialect" in line
    assert installation.send(token.secret, "POST", "/acme/words", data=b"still").content == b"acme heard still"
