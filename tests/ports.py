"""Ports for servers of tests and benchmarks, from below the range of which the kernel takes ports for clients.

A port that the kernel itself has named as free may be some client's when it is listened on, a moment later.
"""

import random
import socket

FIRST, LAST = 15_000, 32_000

_given: set[int] = set()
_chance = random.SystemRandom()  # Test processes that run side by side begin with the same seeds.


def free_port() -> int:
    """Return a port of the loopback address that is free and was not returned before."""
    while True:
        port = _chance.randrange(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def accepts(port: int) -> bool:
    """Tell whether something listens on a port of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
