"""Where the server with our data is now: whom to ask, in which order, and what an answer means. Nothing here connects.

All keys of the contract lie in one slot, so of a Cluster, too, there is one server that we speak to.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared.redis_schema import EPOCH
from shared.redis_urls import Address, Servers, Topology

# After a search that has found nobody, the next ones fail at once for so long: requests would storm the servers.
PAUSE_SECONDS = 0.1


class NotFound(Exception):
    """An answer that leads to no server of ours."""


class Finder:
    """What the connections of one pool have learned together of whom to ask; `slot` is that of our keys.

    A search asks no further server when `seconds` are over; the next one begins with those that were not asked.
    """

    def __init__(
        self, servers: Servers, slot: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers = servers
        self._slot = slot
        self._seconds = seconds
        self._clock = clock
        self._queue = servers.seeds
        self._rest_until = 0.0
        self._reasons: dict[Address, str] = {}

    @property
    def question(self) -> tuple[str, ...]:
        """The command that a server of the queue is asked."""
        if self._servers.topology is Topology.SENTINEL:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._servers.master)
        return ("CLUSTER", "SLOTS")

    @property
    def proof(self) -> tuple[str, ...]:
        """The command that the server that was found must answer without an error; `check` looks at the reply."""
        # Any command on one of our keys: who does not own it refers us to another server.
        return ("ROLE",) if self._servers.topology is Topology.SENTINEL else ("EXISTS", EPOCH)

    def candidates(self) -> Iterator[Address]:
        """Yield whom to ask until one of them has led to a server: stop then."""
        began = self._clock()
        if began < self._rest_until:
            return
        self._reasons = {}
        for address in self._queue:
            yield address
            if self._clock() - began >= self._seconds:
                break
        self._rest_until = self._clock() + PAUSE_SECONDS

    def owner(self, asked: Address, reply: Any) -> Address:
        """Return where our data is by the reply to the question. Raises NotFound."""
        try:
            if self._servers.topology is Topology.SENTINEL:
                host, port = reply
                return host.decode(), int(port)
            return self._slot_owner(asked, reply)
        except (AttributeError, IndexError, TypeError, ValueError):
            raise NotFound("knows no such server") from None

    def check(self, reply: Any) -> None:
        """Look at the reply to the proof. Raises NotFound."""
        if self._servers.topology is Topology.SENTINEL and reply[0] != b"master":
            raise NotFound("leads to a server that is not a master")

    def failed(self, asked: Address, error: Exception) -> None:
        """Ask this one last from now on: it did not answer, or led nowhere."""
        self._queue = (*(address for address in self._queue if address != asked), asked)
        self._reasons[asked] = str(error)

    def failure(self) -> str:
        """Return why the last search has found nobody."""
        reasons = "; ".join(f"{host}:{port}: {reason}" for (host, port), reason in self._reasons.items())
        return f"none of the servers asked leads to our data: {reasons}"

    def _slot_owner(self, asked: Address, reply: Sequence[Any]) -> Address:
        owners = [_node(asked, nodes[0]) for first, last, *nodes in reply if first <= self._slot <= last]
        known = [_node(asked, node) for _, _, *nodes in reply for node in nodes]
        # Nodes come and go; whoever is neither named nor a member any longer is forgotten.
        kept = [address for address in self._queue if address in self._servers.seeds or address in known]
        self._queue = tuple(dict.fromkeys([*kept, *known]))
        return owners[0]


def _node(asked: Address, node: Sequence[Any]) -> Address:
    # A node that knows no name of another, or of itself, means: the one under which you have asked.
    return (node[0] or b"").decode() or asked[0], int(node[1])
