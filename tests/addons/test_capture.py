"""Rules of taps: what passes is as it was, its beginning is kept, and never more than that."""

from addons.capture import Capture


def test_the_beginning_is_kept_and_everything_counted() -> None:
    capture = Capture(5)

    for chunk in (b"abc", b"def", b"ghi", b""):
        capture.take(chunk)

    assert (capture.start, capture.size) == (b"abcde", 9)


def test_what_passes_is_what_another_stream_makes_of_it() -> None:
    capture = Capture(100)

    through, apart = capture.around(lambda chunk: chunk.upper()), capture.around(lambda chunk: [chunk, b"!"])

    assert callable(through) and through(b"a") == b"A"
    assert callable(apart) and list(apart(b"b")) == [b"b", b"!"]
    assert capture.start == b"Ab!"


def test_a_body_that_streams_by_itself_is_seen() -> None:
    capture = Capture(100)

    passing = capture.around(True)

    assert callable(passing) and passing(b"abc") == b"abc" and capture.start == b"abc"
    assert capture.around(False) is False
