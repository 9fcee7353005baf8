"""The contract about requests that run: what is held for them, and how that is settled, extended, found again.

A hold is made by the `admit` script: the open request as its worker describes it (JSON), a newline, and what the
scripts need to settle it (MessagePack, whose numbers Lua reads and writes exactly). Between admission and settlement it
is handed around as it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from shared import redis_schema
from shared.limits_schema import decode_standing
from shared.models import Amounts, LimitState, Measure, Scope, UsageEvent, Window
from shared.redis_schema import ContractError

# Marks of requests that were charged after Redis had lost them.
MARK_PREFIX = f"{redis_schema.PREFIX}charged:"


class OpenRequest(msgspec.Struct, frozen=True):
    """What is known of a request while it runs: enough for its usage event if its worker dies.

    `prompt_tokens` is an estimate. The ids may be left empty at admission, which finds them.
    """

    request_id: str
    occurred_at: datetime
    provider: str
    route: str
    method: str
    model: str | None = None
    is_stream: bool = False
    prompt_tokens: int | None = None
    project_id: str = ""
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold as it reads: the request, its number on its token, and what is reserved for it."""

    request: OpenRequest
    sequence: int
    reserved: Amounts


@dataclass(frozen=True, slots=True)
class NotExtended:
    """A running request may not have more; falsy on purpose.

    `limit` is the one that is reached; None: the request is not held any longer.
    """

    limit: LimitState | None

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Counter:
    """What has been used of a measure in one period, named by `limits_schema.period_of`."""

    measure: Measure
    window: Window
    period: str
    used: int


_request_decoder = msgspec.json.Decoder(OpenRequest)
# Token, project, epoch, sequence, expires_at, tokens, cost, and five values for each counter (see admit.lua).
_taken_decoder = msgspec.msgpack.Decoder(list[int | str])
_FIXED = 7


def encode_request(request: OpenRequest) -> bytes:
    """Return what `redis_schema.encode_admission` takes as its request."""
    return msgspec.json.encode(request)


def decode_hold(hold: bytes) -> Held:
    """Read a hold. Raises ContractError if it is none."""
    described, _, written = hold.partition(b"\n")
    try:
        request, taken = _request_decoder.decode(described), _taken_decoder.decode(written)
        token_id, project_id, _, sequence, _, tokens, cost = taken[:_FIXED]
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable hold: {error}") from error
    known = msgspec.structs.replace(request, project_id=str(project_id), token_id=str(token_id))
    return Held(known, int(sequence), Amounts(int(tokens), int(cost)))


def encode_settlement(
    hold: bytes | None, event: UsageEvent, actual: Amounts
) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `settle` script. What is None of `actual` stays as it was reserved.

    Without a hold, the event is appended and nothing else.
    """
    keys = [redis_schema.OPEN, redis_schema.USAGE_STREAM, redis_schema.EPOCH]
    [(field, entry)] = redis_schema.encode_event(event).items()
    prefixes = [redis_schema.USED_PREFIX, MARK_PREFIX]
    return keys, [*prefixes, hold or b"", field, entry, *redis_schema.encode_amounts(actual)]


def encode_extension(
    hold: bytes, digest: str, more: Amounts, lease_ms: int = redis_schema.LEASE_MS
) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `extend` script for a running request of the token with this digest.

    Raises ContractError if the hold is none.
    """
    project_key = redis_schema.project_key(decode_hold(hold).request.project_id)
    keys = [redis_schema.OPEN, redis_schema.token_key(digest), project_key, redis_schema.GLOBAL_LIMITS]
    return keys, [redis_schema.USED_PREFIX, hold, more.tokens or 0, more.cost or 0, lease_ms]


def decode_extension(reply: Sequence[bytes | int]) -> bytes | NotExtended:
    """Read the answer of the `extend` script: the hold from now on, or why there is none. Raises ContractError."""
    try:
        hold, *states = reply
        if not isinstance(hold, bytes):
            raise TypeError("a hold is made of bytes")
        return hold or NotExtended(next(iter(decode_standing(states)), None))
    except (TypeError, ValueError) as error:
        raise ContractError(f"unreadable extension reply: {error}") from error


def encode_leases(
    holds: Iterable[bytes], at_most: int = 100, lease_ms: int = redis_schema.LEASE_MS
) -> tuple[list[str], list[bytes | int]]:
    """Return KEYS and ARGV of the `leases` script, which renews these and returns so many expired holds at most."""
    return [redis_schema.OPEN], [lease_ms, at_most, *holds]


def encode_restore(
    scope: Scope, scope_id: str, counters: Iterable[Counter], forget_at_ms: int | None = None
) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of the `restore` script. `forget_at_ms`: when a token's record is forgotten, too."""
    known = [(f"{counter.measure}:{counter.window}", counter.period, counter.used) for counter in counters]
    forget: str | int = "" if forget_at_ms is None else forget_at_ms
    return [redis_schema.used_key(scope, scope_id)], [forget, *[part for counter in known for part in counter]]
