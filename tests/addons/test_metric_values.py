"""Rules of buffered values: they count at once, and reach what stores them when they are flushed, once."""

from typing import Any

from addons.metric_values import Buffer


class Stored:
    """Stands for a value in a shared file, which an earlier process has left at 2."""

    def __init__(self, *described: Any, **more: Any) -> None:
        self.described = (described, more)
        self.written = [2.0]

    def get(self) -> float:
        return self.written[-1]

    def set(self, value: float) -> None:
        self.written.append(value)


class Storing:
    """Makes them, and remembers them."""

    def __init__(self) -> None:
        self.made: list[Stored] = []

    def __call__(self, *described: Any, **more: Any) -> Stored:
        self.made.append(Stored(*described, **more))
        return self.made[-1]


def test_a_value_begins_with_what_is_stored_and_is_written_when_it_is_flushed() -> None:
    storing = Storing()
    buffer = Buffer(storing)
    value = buffer("gauge", "name", multiprocess_mode="livesum")

    value.inc(1)
    value.inc(0.5)

    [stored] = storing.made
    assert stored.described == (("gauge", "name"), {"multiprocess_mode": "livesum"})
    assert value.get() == 3.5 and stored.written == [2]
    buffer.flush()
    assert stored.written == [2, 3.5]


def test_only_what_has_changed_is_written() -> None:
    storing = Storing()
    buffer = Buffer(storing)
    one, _ = buffer("counter"), buffer("counter")

    one.inc(1)
    buffer.flush()
    buffer.flush()

    assert [stored.written for stored in storing.made] == [[2, 3], [2]]


def test_a_value_that_was_left_over_can_be_put_back_to_zero() -> None:
    storing = Storing()
    buffer = Buffer(storing)

    buffer("gauge").set(0)
    buffer.flush()

    assert storing.made[0].written == [2, 0]
