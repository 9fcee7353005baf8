"""Rules of answers that go on and on: they keep nobody from being served, and end with the server."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from manager.rests import KEY, rest_of
from manager.wsgi import STOP_SECONDS
from tests.manager.served import TOKEN, Served, serving

# More than there are threads.
STREAMS = 6


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def browser(served: Served) -> Iterator[requests.Session]:
    """A browser that is signed in."""
    with requests.Session() as session:
        session.headers["accept"] = "text/html"
        url = f"http://127.0.0.1:{served.port}/ui/sign-in"
        found = re.search('name="csrf_token" value="([^"]+)"', session.get(url, timeout=30).text)
        assert found
        form = {"csrf_token": found[1], "token": TOKEN}
        assert session.post(url, data=form, timeout=30, allow_redirects=False).status_code == 303
        yield session


def watch(served: Served, browser: requests.Session) -> requests.Response:
    """A page that is followed, once something was told."""
    url = f"http://127.0.0.1:{served.port}/ui/events?page=dashboard"
    answer = browser.get(url, stream=True, timeout=30)
    assert (answer.status_code, next(answer.iter_content(1))) == (200, b"r")
    return answer


def test_more_can_watch_than_there_are_threads_and_the_api_answers_at_once(
    served: Served, browser: requests.Session
) -> None:
    with ExitStack() as stack:
        for _ in range(STREAMS):
            stack.enter_context(watch(served, browser))
        begun = time.monotonic()

        for _ in range(20):
            assert served.is_up()

        assert time.monotonic() - begun < 10


def test_the_server_stops_although_somebody_watches(served: Served, browser: requests.Session) -> None:
    with ExitStack() as stack:
        watching = [stack.enter_context(watch(served, browser)) for _ in range(STREAMS)]
        begun = time.monotonic()

        served.process.terminate()
        served.process.wait(20)

        assert time.monotonic() - begun < STOP_SECONDS
        assert all(list(each.iter_content(None)) is not None for each in watching)
    assert b"Traceback" not in served.log.read_bytes()


def test_without_a_server_that_lets_it_rest_it_waits() -> None:
    begun = time.monotonic()

    assert rest_of({})(0.05)

    assert time.monotonic() - begun >= 0.05


def test_the_server_says_how_to_rest() -> None:
    assert not rest_of({KEY: lambda seconds: seconds > 1})(0.5)
