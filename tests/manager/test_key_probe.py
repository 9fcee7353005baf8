"""Rules of the key probe: what is asked, how the answer reads, and that the key goes nowhere else."""

import socket
from collections.abc import Iterator

import pytest
import requests
import requests_mock

from manager import key_probe
from manager.key_probe import ProbeResult, cheapest, probe
from shared import providers
from tests.ports import free_port

TABLE = providers.load()
OPENAI, ANTHROPIC = TABLE.providers["openai"], TABLE.providers["anthropic"]
KEY = "sk-proj-the-real-provider-key-0123"
OWN = """
[providers.own]
base_url = "https://api.example.org"
dialect = "opaque"
credential = { header = "x-key", scheme = "" }
max_body_bytes = 1000
routes = [
    { name = "things.one", path = "/things/{id}", methods = ["GET"] },
    { name = "live", path = "/live", methods = ["GET"], upgrade = "websocket" },
    { name = "chat", path = "/chat", methods = ["POST"] },
]
"""


@pytest.fixture
def web() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


def test_the_key_is_shown_as_the_provider_wants_it(web: requests_mock.Mocker) -> None:
    web.get("https://api.openai.com/v1/models", json={})
    web.get("https://eu.example.org/v1/models", json={})

    results = [probe("", OPENAI, KEY), probe("https://eu.example.org/", ANTHROPIC, KEY)]

    assert [(result.state, result.status, result.reason) for result in results] == [("ok", 200, "")] * 2
    first, second = (request.headers for request in web.request_history)
    assert first["authorization"] == f"Bearer {KEY}"
    assert (second["x-api-key"], second["anthropic-version"]) == (KEY, "2023-06-01")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *((401, "refused"), (402, "refused"), (403, "refused"), (429, "limited")),
        *((302, "unclear"), (404, "unclear"), (500, "unclear"), (529, "unclear")),
    ],
)
def test_an_answer_reads_as_a_verdict_on_the_key(web: requests_mock.Mocker, status: int, state: str) -> None:
    web.get("https://api.openai.com/v1/models", status_code=status, headers={"location": "https://thief.example.org"})

    result = probe("", OPENAI, KEY)

    assert (result.state, result.reason, result.status) == (state, f"status_{status}", status)
    assert len(web.request_history) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectTimeout, "connect_timeout"),
        (requests.ReadTimeout, "first_byte_timeout"),
        (requests.exceptions.SSLError, "tls"),
        (requests.ConnectionError("Failed to resolve 'x'"), "dns"),
        (requests.exceptions.InvalidURL, "closed"),
    ],
    ids=["connect", "read", "tls", "dns", "url"],
)
def test_a_provider_that_cannot_be_asked_says_nothing_of_the_key(
    web: requests_mock.Mocker, error: Exception, reason: str
) -> None:
    web.get("https://api.openai.com/v1/models", exc=error)

    result = probe("", OPENAI, KEY)

    assert (result.state, result.reason, result.status) == ("unreachable", reason, 0)
    assert KEY not in repr(result)


def test_nobody_listening_is_a_refused_connection() -> None:
    result = probe(f"http://127.0.0.1:{free_port()}", OPENAI, KEY)

    assert (result.state, result.reason) == ("unreachable", "refused")


def test_a_silent_provider_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = probe(f"http://127.0.0.1:{silent.getsockname()[1]}", OPENAI, KEY, seconds=0.05)

    assert (result.state, result.reason) == ("unreachable", "first_byte_timeout")


def test_a_provider_without_a_cheap_route_is_not_asked() -> None:
    own = providers.parse(OWN, "own").providers["own"]

    assert cheapest(own) is None
    assert probe("", own, KEY) == ProbeResult("unclear", "no_route")


@pytest.mark.parametrize("provider", TABLE.providers.values(), ids=list(TABLE.providers))
def test_every_bundled_provider_can_be_asked_for_free(provider: providers.Provider) -> None:
    route = key_probe.cheapest(provider)

    assert route is not None and (route.name, route.is_free("GET")) == ("models", True)
