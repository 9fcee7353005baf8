"""Replies: padded to the byte, compressed event by event, cut in the middle."""

import gzip
import json
import zlib

import pytest

from manager.mock_provider.answers.files import Content
from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour
from manager.mock_provider.replies import accepts_gzip, download_reply, padded, plain_reply, squeezed, stream_reply

ANSWER = b'{"object":"list"}'
EVENTS = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]


@pytest.mark.parametrize("size", [len(ANSWER), len(ANSWER) + 1, 29, 30, 31, 32, 5000])
def test_a_smaller_answer_is_padded_to_the_byte_and_stays_json(size: int) -> None:
    body = padded(ANSWER, size)

    assert len(body) == size
    assert json.loads(body)["object"] == "list"


@pytest.mark.parametrize("size", [None, 0, 5])
def test_a_larger_answer_is_left_alone(size: int | None) -> None:
    assert padded(ANSWER, size) == ANSWER


def test_a_plain_answer_declares_its_length() -> None:
    reply = plain_reply(ANSWER, WELL_BEHAVED, squeeze=False, cut=False)

    assert reply.headers == ((b"content-type", b"application/json"), (b"content-length", b"17"))
    assert (tuple(reply.pieces), reply.cut, reply.stream) == ((ANSWER,), False, False)


def test_a_long_answer_is_sent_in_pieces() -> None:
    reply = plain_reply(ANSWER, Behaviour(response_bytes=200_000), squeeze=False, cut=False)

    assert [len(piece) for piece in reply.pieces] == [65536, 65536, 65536, 3392]
    assert dict(reply.headers)[b"content-length"] == b"200000"


def test_a_compressed_answer_is_the_same_every_time() -> None:
    first, second = (plain_reply(ANSWER, WELL_BEHAVED, squeeze=True, cut=False) for _ in range(2))

    assert first == second
    assert gzip.decompress(first.pieces[0]) == ANSWER
    assert dict(first.headers)[b"content-encoding"] == b"gzip"
    assert dict(first.headers)[b"content-length"] == b"%d" % len(first.pieces[0])


def test_a_cut_answer_declares_its_whole_length_but_has_half_of_it() -> None:
    reply = plain_reply(ANSWER, WELL_BEHAVED, squeeze=False, cut=True)

    assert (tuple(reply.pieces), reply.cut) == ((ANSWER[:8],), True)
    assert dict(reply.headers)[b"content-length"] == b"17"


@pytest.mark.parametrize(("chunked", "declared"), [(False, b"100000"), (True, None)])
def test_a_download_declares_its_length_unless_chunked(chunked: bool, declared: bytes | None) -> None:
    reply = download_reply(Content(100_000, chunked=chunked), cut=False)

    assert [len(piece) for piece in reply.pieces] == [65_536, 34_464]
    assert dict(reply.headers).get(b"content-length") == declared


def test_a_cut_download_has_half_of_it() -> None:
    reply = download_reply(Content(100_000), cut=True)

    assert (sum(map(len, reply.pieces)), dict(reply.headers)[b"content-length"]) == (50_000, b"100000")


def test_a_stream_has_one_piece_per_event_and_no_length() -> None:
    reply = stream_reply(EVENTS, squeeze=False, cut=False)

    assert (reply.pieces, reply.stream, reply.cut) == (EVENTS, True, False)
    assert reply.headers == ((b"content-type", b"text/event-stream; charset=utf-8"),)


@pytest.mark.parametrize(("events", "kept"), [(EVENTS, 1), (EVENTS * 2, 3), (EVENTS[:1], 1)])
def test_a_cut_stream_has_half_of_its_events(events: list[bytes], kept: int) -> None:
    reply = stream_reply(events, squeeze=False, cut=True)

    assert (reply.pieces, reply.cut) == (events[:kept], True)


def test_each_event_of_a_compressed_stream_can_be_read_when_it_arrives() -> None:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    assert [reader.decompress(piece) for piece in squeezed(EVENTS)] == EVENTS
    assert reader.eof


def test_a_compressed_stream_says_so() -> None:
    reply = stream_reply(EVENTS, squeeze=True, cut=False)

    assert dict(reply.headers)[b"content-encoding"] == b"gzip"
    assert gzip.decompress(b"".join(reply.pieces)) == b"".join(EVENTS)


@pytest.mark.parametrize(
    ("offer", "accepted"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"deflate, *", True),
        (b"gzip;q=1.0", True),
        (b"gzip; q=0", False),
        (b"gzip;q=0.000, *", False),
        (b"*;q=0", False),
        (b"br", False),
        (b"", False),
    ],
)
def test_gzip_is_used_only_where_the_client_takes_it(offer: bytes, accepted: bool) -> None:
    assert accepts_gzip(offer) is accepted
