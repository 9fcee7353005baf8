"""Rules of letting go: bodies of ended requests are not held, except where somebody may look at them or save them."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from mitmproxy import http
from mitmproxy.addons.save import Save
from mitmproxy.test import taddons

from addons.release import Release
from tests.addons.conftest import request


@pytest.fixture
def room() -> Iterator[Release]:
    """In a runner that has nothing but rooms."""
    with taddons.context():
        room = Release()
        room.running()
        yield room


def ended() -> http.HTTPFlow:
    flow = request("POST", "/v1/chat/completions", body=b"much")
    flow.response = http.Response.make(403, b"no")
    return flow


@pytest.mark.parametrize("hook", ["response", "error"])
def test_the_body_of_a_request_that_has_ended_is_not_held(room: Release, hook: str) -> None:
    flow = ended()

    getattr(room, hook)(flow)

    assert flow.request.raw_content is None


def test_an_answer_of_our_own_can_still_be_sent(room: Release) -> None:
    flow = ended()

    room.response(flow)

    assert flow.response is not None and flow.response.raw_content == b"no"


def test_whatever_read_an_answer_that_broke_off_is_not_held(room: Release) -> None:
    class Reader:
        def __call__(self, chunk: bytes) -> bytes:
            return chunk

    flow = ended()
    reader = Reader()
    flow.response = http.Response.make(200)
    flow.response.stream = reader
    held = weakref.ref(reader)
    del reader

    room.error(flow)

    gc.collect()
    assert held() is None


def test_a_request_that_broke_off_without_an_answer_lets_go_too(room: Release) -> None:
    flow = request("POST", "/v1/chat/completions", body=b"much")

    room.error(flow)

    assert flow.request.raw_content is None


@pytest.mark.parametrize("hook", ["response", "error"])
def test_where_flows_can_be_saved_they_stay_whole(hook: str) -> None:
    with taddons.context(Save()):
        room = Release()
        room.running()
        flow = ended()

        getattr(room, hook)(flow)

        assert flow.request.raw_content == b"much"
