"""Rules of hiding the usage that only we asked for: the client's bytes are those of a provider that was not asked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.dialects.reader import AnswerReader
from addons.dialects.unasked import without_usage
from addons.dialects.usage_filter import UsageFilter
from tests.addons.dialects.recordings import RECORDINGS, Recording


def passed(*chunks: bytes) -> bytes:
    hide = UsageFilter()
    return b"".join([*(hide(chunk) for chunk in chunks), hide(b"")])


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(stream)}), len(stream)]
    return [stream[start:end] for start, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_stream_cut_at_any_byte_passes_as_if_its_usage_had_not_been_asked_for(name: str) -> None:
    recording = RECORDINGS[name]

    for cut in range(1, len(recording.asked)):
        assert passed(recording.asked[:cut], recording.asked[cut:]) == recording.unasked, cut


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_stream_without_anything_to_hide_passes_untouched_at_any_cut(name: str) -> None:
    stream = RECORDINGS[name].unasked

    for cut in range(1, len(stream)):
        assert passed(stream[:cut], stream[cut:]) == stream, cut


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_stream_in_small_pieces_passes_the_same(name: str, size: int) -> None:
    recording = RECORDINGS[name]

    assert passed(*pieces(recording.asked, list(range(0, 9999, size)))) == recording.unasked


@given(st.sampled_from(sorted(RECORDINGS)), st.lists(st.integers(1, 2500), max_size=9))
def test_a_stream_in_any_pieces_passes_and_tells_the_same(name: str, cuts: list[int]) -> None:
    recording, reader, hide = RECORDINGS[name], AnswerReader("openai", "text/event-stream", ""), UsageFilter()

    received = b""
    for chunk in [*pieces(recording.asked, cuts), b""]:
        reader.feed(chunk)
        received += hide(chunk)

    assert received == recording.unasked
    assert (reader.answer.usage, reader.answer.finish_reason) == (recording.usage, recording.finish_reason)


@given(st.lists(st.sampled_from([b"data: ", b"{", b"}", b'"usage":null', b"\n", b"\r", b":", b"x", b"id:", b","])))
def test_bytes_without_the_usage_of_null_are_neither_lost_nor_moved(parts: list[bytes]) -> None:
    stream = b"".join(parts)

    assert passed(*parts) == passed(stream)
    assert re.sub(rb',?"usage":null,?', b"", passed(*parts)) == re.sub(rb',?"usage":null,?', b"", stream)


@pytest.mark.parametrize("name", ["openai", "crlf", "no_space", "obfuscated"])
def test_an_event_passes_with_its_data_line_and_everything_else_at_once(name: str) -> None:
    hide, recording = UsageFilter(), RECORDINGS[name]
    line, rest = (
        recording.asked[: recording.asked.index(b"\n") + 1],
        recording.asked[recording.asked.index(b"\n") + 1 :],
    )

    assert hide(line) == recording.unasked[: recording.unasked.index(b"\n") + 1]
    assert hide(rest) == recording.unasked[recording.unasked.index(b"\n") + 1 :]


@pytest.mark.parametrize(
    "start",
    [
        b":",
        b": keep-al",
        b"data: [DO",
        b"data: x",
        b"data:\t1",
        b"foo",
        b"\n",
        b"\xef\xbb\xbfdata: {",
        b"data: {}\n",
        b"<",
    ],
    ids=lambda start: start.decode("latin-1").encode("unicode_escape").decode(),
)
def test_what_cannot_be_our_usage_is_not_held(start: bytes) -> None:
    assert UsageFilter()(start) == start


def test_the_held_start_of_an_event_goes_when_it_turns_out_to_be_another_one() -> None:
    hide = UsageFilter()

    assert hide(b"event: err") == b""
    assert hide(b"or\nda") == b""
    assert hide(b"ta: no") == b"event: error\ndata: no"
    assert hide(b"t JSON\n\n") == b"t JSON\n\n"


def test_an_event_with_more_than_the_usage_passes_whole() -> None:
    stream = b'data: {"choices":[],"usage":{"total_tokens":1}}\ndata: more\n\n'

    assert passed(stream) == stream


def test_the_end_of_a_line_that_came_in_pieces_is_no_blank_line() -> None:
    rest = b'data: {"choices":[],"usage":{}}\r\n\r\n'

    assert passed(b"data: x", b"\r", b"\n", rest) == b"data: x\r\n" + rest


def test_an_event_too_long_to_be_ours_is_passed_on_before_it_ends() -> None:
    hide, start = UsageFilter(most_held=100), b'data: {"x":"' + b"a" * 90

    assert hide(start) == start
    assert hide(b'","usage":null}\n\n') == b'","usage":null}\n\n'
    assert hide(b'data: {"x":1,"usage":null}\n\n') == b'data: {"x":1}\n\n'


def test_fields_too_long_to_be_held_are_passed_on() -> None:
    assert UsageFilter(most_held=10)(b"event: one\nid: two\n") == b"event: one\nid: two\n"


def test_lines_that_end_with_cr_alone_are_not_held_but_passed_untouched() -> None:
    hide, stream = UsageFilter(), b'data: {"choices":[],"usage":{}}\r\rdata: {"usage":null}\r\r'

    assert hide(stream[:33]) == stream[:33]
    assert hide(stream[33:]) == stream[33:]
    assert passed(b'data: {"a":1}\r\rdata: {"usage":null}\n') == b'data: {"a":1}\r\rdata: {"usage":null}\n'


def test_a_stream_that_ends_within_an_event_passes_what_it_has() -> None:
    assert passed(b"data: {}\n\n", b'data: {"choices":[],"us') == b'data: {}\n\ndata: {"choices":[],"us'
    assert passed(b"id: 4\n") == b"id: 4\n"
    assert passed(b'data: {"choices":[],"usage":{}}') == b""
    assert passed(b'data: {"choices":[],"usage":{}}\n', b"\r") == b""


@pytest.mark.parametrize(
    ("document", "left"),
    [
        (b'{"a":1,"usage":null}', b'{"a":1}'),
        (b'{"usage":null}', b"{}"),
        (b'{"usage":null,"a":1}', b'{"a":1}'),
        (b'{"a": 1, "usage" : null , "b": 2}', b'{"a": 1 , "b": 2}'),
        (b'{"a":1,"usage":null,"obfuscation":"x"}', b'{"a":1,"obfuscation":"x"}'),
        (b'{"choices":[],"usage":{"total_tokens":1}}', None),
        (b'{"choices":[],"usage":null,"prompt_filter_results":[]}', b'{"choices":[],"prompt_filter_results":[]}'),
        (b'{"choices":[{}],"usage":{"total_tokens":1}}', b'{"choices":[{}],"usage":{"total_tokens":1}}'),
        (b'{"usage":{"total_tokens":1}}', b'{"usage":{"total_tokens":1}}'),
        (b'{"x":{"a":1,"usage":null}}', b'{"x":{"a":1,"usage":null}}'),
        (b'{"usage":null,"x":{"usage":1}}', b'{"x":{"usage":1}}'),
        (b'{"a":"\\",\\"usage\\":null"}', b'{"a":"\\",\\"usage\\":null"}'),
        (b'{"usage":1,"usage":null,"a":1}', b'{"usage":1,"usage":null,"a":1}'),
        (b'{"us\\u0061ge":null,"b":"usage"}', b'{"us\\u0061ge":null,"b":"usage"}'),
        (b'{"usage"', b'{"usage"'),
    ],
    ids=lambda value: (value or b"nothing").decode(),
)
def test_what_is_left_of_a_document(document: bytes, left: bytes | None) -> None:
    assert without_usage(document) == left


def test_the_recordings_differ_by_what_is_hidden() -> None:
    assert all(
        isinstance(recording, Recording) and recording.asked != recording.unasked for recording in RECORDINGS.values()
    )
