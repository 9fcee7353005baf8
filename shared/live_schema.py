"""The contract about what is in flight: what each worker tells of its requests while somebody watches.

The manager says that somebody does by a key that soon expires. Each worker looks for it, and writes what runs on it
under a key of its own, which expires as well: a worker that is killed is forgotten by itself.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.redis_schema import PREFIX, ContractError

# There while somebody watches, and for how long after that, in ms.
WATCHED = f"{PREFIX}live:watched"
WATCHED_MS = 10_000
WORKER_PREFIX = f"{PREFIX}live:worker:"
# How long a worker's snapshot is worth something.
SNAPSHOT_MS = 4_000
# A worker tells of so many requests, the oldest ones, and counts the others.
MOST_TOLD = 1000


class State(StrEnum):
    """How far a request has come."""

    # Its answer has not begun.
    WAITING = "waiting"
    # Kept from its provider until somebody decides, see rules_schema.
    HELD = "held"
    STREAMING = "streaming"


class RunningRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request in flight. New fields go to the end and have a default.

    `completion_tokens` is estimated until the provider has told it, None before anything is known. The reader fills in
    the `worker`. `rule` is the name of the one that holds it.
    """

    request_id: str
    project_id: str
    token_id: str
    token_label: str
    provider: str
    route: str
    model: str | None
    started_at: datetime
    is_stream: bool
    state: State
    chunks: int
    response_bytes: int
    completion_tokens: int | None
    worker: str = ""
    rule: str = ""
    held_until: datetime | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """What runs on one worker: how many requests of each project, and the oldest of them all."""

    told_at: datetime
    counts: dict[str, int]
    requests: list[RunningRequest]


_decoder = msgspec.msgpack.Decoder(Snapshot)


def snapshot_key(worker: str) -> str:
    """Key of what a worker tells."""
    return WORKER_PREFIX + worker


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return what a worker tells."""
    return msgspec.msgpack.encode(snapshot)


def decode_snapshot(told: bytes) -> Snapshot:
    """Read what a worker tells. Raises ContractError."""
    try:
        return _decoder.decode(told)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable snapshot: {error}") from error
