"""Rules of slowing down whoever guesses."""

import pytest

from addons.inspection import throttle
from addons.inspection.throttle import Throttle, neighbourhood


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_too_many_attempts_wait_until_the_minute_is_over() -> None:
    clock = Clock()
    slow = Throttle(clock, most=3)

    assert [slow.begin("10.0.0.1") for _ in range(4)] == [0, 0, 0, 60]
    clock.now += 59
    assert (slow.begin("10.0.0.1"), slow.begin("10.0.0.2")) == (1, 0)
    clock.now += 1
    assert slow.begin("10.0.0.1") == 0


def test_attempts_that_were_none_to_guess_do_not_count() -> None:
    slow = Throttle(Clock(), most=2)

    for _ in range(5):
        assert slow.begin("10.0.0.1") == 0
        slow.forgive("10.0.0.1")


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Throttle(Clock(), most=1)

    for number in range(throttle.MOST_ADDRESSES + 1):
        slow.begin(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")

    assert (slow.begin("10.0.0.0"), slow.begin("10.0.255.255")) == (0, 0)
    assert slow.begin("10.0.39.16") == 60


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::7", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "unknown"),
    ],
)
def test_neighbours_count_as_one(address: str, name: str) -> None:
    assert neighbourhood(address) == name
