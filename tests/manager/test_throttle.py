"""Rules of the throttle: who fails too often waits, whatever it sends, and nobody else does."""

from dataclasses import dataclass

import pytest

from manager.tallies import MemoryTallies
from manager.throttle import SECONDS, Throttle, neighbourhood


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def failed(throttle: Throttle, address: str | None, times: int) -> Throttle:
    for _ in range(times):
        throttle.fail(address)
    return throttle


def test_an_address_waits_for_the_rest_of_the_minute_after_too_many_failures() -> None:
    clock = Clock()
    throttle = failed(Throttle(MemoryTallies(clock), 3), "192.0.2.7", 2)
    assert throttle.wait("192.0.2.7") == 0

    clock.now += 19.5
    throttle.fail("192.0.2.7")

    assert throttle.wait("192.0.2.7") == 41
    clock.now += 40.4
    assert throttle.wait("192.0.2.7") == 1
    clock.now += 0.2
    assert throttle.wait("192.0.2.7") == 0 and SECONDS == 60


def test_another_address_does_not_wait() -> None:
    throttle = failed(Throttle(MemoryTallies(), 3), "192.0.2.7", 100)

    assert throttle.wait("192.0.2.8") == 0 and throttle.wait("2001:db8::7") == 0 and throttle.wait(None) == 0


def test_an_ipv6_network_is_one_address() -> None:
    throttle = Throttle(MemoryTallies(), 3)
    for number in range(3):
        throttle.fail(f"2001:db8:1:2::{number:x}")

    assert throttle.wait("2001:db8:1:2:ffff::1") > 0 and throttle.wait("2001:db8:1:3::1") == 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("nonsense|x", "unknown"),
    ],
)
def test_each_address_has_a_neighbourhood(address: str | None, name: str) -> None:
    assert neighbourhood(address) == name
