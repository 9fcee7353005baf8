"""Rules of holds: an older one is never settled while Redis is about to replace it."""

import pytest

from addons.holds import Holds


def test_a_hold_is_handed_over_at_once_or_after_its_change() -> None:
    holds, taken = Holds(), list[bytes | None]()
    holds.keep("1", b"first")
    holds.hand_over("1", taken.append)

    with holds.changing("1"):
        holds.hand_over("1", taken.append)
        holds.hand_over("2", taken.append)
        assert taken == [b"first", None]
        holds.keep("1", b"second")

    assert taken == [b"first", None, b"second"]


def test_a_change_that_fails_leaves_the_old_one() -> None:
    holds, taken = Holds(), list[bytes | None]()
    holds.keep("1", b"first")

    with pytest.raises(OSError, match="away"), holds.changing("1"):
        holds.hand_over("1", taken.append)
        raise OSError("away")

    assert taken == [b"first"]
    holds.settled("1")
    assert holds.of("1") is None and len(holds) == 0 and list(holds) == []
