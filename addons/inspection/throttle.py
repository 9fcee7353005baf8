"""Slows down whoever guesses: an address with too many failed attempts in a minute waits until the minute is over."""

import ipaddress
import math
import time
from collections.abc import Callable

SECONDS = 60.0
MOST_FAILURES = 5
# Addresses that are remembered.
MOST_ADDRESSES = 10_000
# Whoever has an IPv6 address has as many as there are in such a network.
_IPV6_NETWORK = 64


class Throttle:
    """Counts attempts by address; those that succeed are taken back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_FAILURES) -> None:
        self._clock = clock
        self._most = most
        self._counts: dict[str, tuple[int, float]] = {}

    def begin(self, address: str) -> int:
        """Count an attempt before it is looked at; returns for how many seconds it is refused, 0: it is not."""
        name, now = neighbourhood(address), self._clock()
        count, since = self._counts.get(name, (0, now))
        if now - since >= SECONDS:
            count, since = 0, now
        if count >= self._most:
            return max(1, math.ceil(since + SECONDS - now))
        self._counts.pop(name, None)
        self._counts[name] = (count + 1, since)
        if len(self._counts) > MOST_ADDRESSES:
            del self._counts[next(iter(self._counts))]
        return 0

    def forgive(self, address: str) -> None:
        """Take back an attempt that was none to guess."""
        name = neighbourhood(address)
        count, since = self._counts.pop(name, (1, self._clock()))
        if count > 1:
            self._counts[name] = (count - 1, since)


def neighbourhood(address: str) -> str:
    """Return what counts as one address.

    >>> neighbourhood("2001:db8::7")
    '2001:db8::/64'
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)
