"""Rules of holds: what has been settled stays so."""

from addons.holds import Holds


def test_a_hold_is_known_until_its_request_is_settled() -> None:
    holds = Holds()
    holds.keep("1", b"first")
    holds.replace("1", b"second")
    assert holds.of("1") == b"second" and list(holds) == ["1"]

    holds.settled("1")
    holds.replace("1", b"third")

    assert holds.of("1") is None and len(holds) == 0 and list(holds) == []
