"""Slows down whoever tries tokens: an address with too many failed logins in a minute waits until the minute is over.

Who has too many is refused whatever it sends, or the limit would be none for the one guess that is right.
"""

import ipaddress
import math

from manager.tallies import Tallies

SECONDS = 60
_NO_ADDRESS = "unknown"
# Whoever has an IPv6 address has as many as there are in such a network.
_IPV6_NETWORK = 64


class Throttle:
    """Counts failed logins by address."""

    def __init__(self, tallies: Tallies, most: int) -> None:
        self._tallies = tallies
        self._most = most

    def wait(self, address: str | None) -> int:
        """Return for how many seconds an address is refused; 0: it is not."""
        count, left = self._tallies.look(_name(address))
        return max(1, math.ceil(left)) if count >= self._most else 0

    def fail(self, address: str | None) -> None:
        """Count a failed login."""
        self._tallies.hit(_name(address), SECONDS)


def neighbourhood(address: str | None) -> str:
    """Return what counts as one address: an IPv4 address, or the network of an IPv6 one.

    >>> neighbourhood("2001:db8::7")
    '2001:db8::/64'
    """
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return _NO_ADDRESS
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)


def _name(address: str | None) -> str:
    return f"failed:{neighbourhood(address)}"
