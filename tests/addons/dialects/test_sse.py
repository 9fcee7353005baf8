"""Rules of cutting a byte stream into server-sent events."""

import time
import tracemalloc

import pytest

from addons.dialects.sse import MAX_EVENT_BYTES, EventReader

STREAM = (
    b": a comment\n"
    b'data: {"a": 1}\n\n'
    b"event: named\r\nid: 7\r\ndata: one\r\ndata: two\r\n\r\n"
    b"data:no space\r\r"
    b"retry: 10\n\n"
    b'data: {"text": "gr\xc3\xbc\xc3\x9fe"}\n\n'
    b"data: [DONE]\n\n"
)
EVENTS = [b'{"a": 1}', b"one\ntwo", b"no space", b'{"text": "gr\xc3\xbc\xc3\x9fe"}', b"[DONE]"]


def test_whole_stream_gives_every_event() -> None:
    assert EventReader().feed(STREAM) == EVENTS


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int) -> None:
    reader = EventReader()

    events = reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:])

    assert events == EVENTS


def test_single_bytes_give_the_same_events() -> None:
    reader = EventReader()

    events = [event for at in range(len(STREAM)) for event in reader.feed(STREAM[at : at + 1])]

    assert events == EVENTS


def test_an_unfinished_event_is_not_given() -> None:
    assert EventReader().feed(b'data: {"half": ') == []


def test_an_endless_line_is_not_held_in_memory_and_its_event_is_passed_over() -> None:
    reader, chunk = EventReader(), b"x" * (1 << 20)
    tracemalloc.start()

    for _ in range(5 * MAX_EVENT_BYTES // len(chunk)):
        assert reader.feed(chunk) == []

    assert tracemalloc.get_traced_memory()[1] < 3 * MAX_EVENT_BYTES
    tracemalloc.stop()
    assert reader.feed(b"\n\ndata: next\n\n") == [b"next"]


def test_an_event_of_too_many_lines_is_passed_over() -> None:
    reader, line = EventReader(), b"data: " + b"y" * 9999 + b"\n"

    events = [event for _ in range(20) for event in reader.feed(line * 100)]

    assert events + reader.feed(b"\ndata: next\n\n") == [b"next"]


@pytest.mark.parametrize("size", [1 << 10, 1 << 16], ids=["small_pieces", "as_read"])
def test_a_long_event_in_pieces_is_given_whole_and_takes_no_noticeable_time(size: int) -> None:
    reader, data = EventReader(), b"A" * (MAX_EVENT_BYTES - 100)
    raw = b"event: image\r\ndata: " + data + b"\r\n\r\n"
    began = time.process_time()

    events = [event for at in range(0, len(raw), size) for event in reader.feed(raw[at : at + size])]

    assert events == [data]
    assert time.process_time() - began < 1.0  # Some 50 ms; looking through all of it for each piece would take minutes.
