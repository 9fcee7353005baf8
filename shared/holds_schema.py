"""The contract about requests that run: what is held for them, and how that is settled, extended, found again.

A hold is made by the `admit` script: the open request as its worker describes it (JSON), a newline, and what the
scripts need to settle it (MessagePack, whose numbers Lua reads and writes exactly). It stands in Redis under the
request's id, by which every script finds it as it is now. Workers hand around what they know of it: it is needed only
if Redis has lost its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from shared import redis_schema
from shared.limits_schema import decode_standing, field_of
from shared.models import Amounts, LimitState, Measure, Outcome, Scope, UsageEvent, Window
from shared.redis_schema import ContractError, as_bytes

# Marks, for a day, of requests that may yet be settled otherwise than by what is held for them (see settle.lua).
MARK_PREFIX = f"{redis_schema.PREFIX}settled:"


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

    `limit` is the one that is reached; None: the request has been settled.
    """

    limit: LimitState | None

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Counter:
    """What has been used of a measure in one period, numbered by `limits_schema.period_of`."""

    measure: Measure
    window: Window
    period: int
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

    `hold` is what the worker knows of it, None: nothing. An event with the outcome `lost` gives way to a later one.
    """
    keys = [redis_schema.OPEN, redis_schema.HOLDS, redis_schema.USAGE_STREAM, redis_schema.EPOCH]
    [(field, entry)] = redis_schema.encode_event(event).items()
    known: list[str | bytes] = [redis_schema.USED_PREFIX, MARK_PREFIX, event.request_id, hold or b""]
    is_lost = int(event.outcome is Outcome.LOST)
    prefixes = (redis_schema.IDENTITY_PREFIX, redis_schema.PROJECT_PREFIX)
    return keys, [*known, field, entry, *redis_schema.encode_amounts(actual), is_lost, *prefixes]


def encode_extension(
    hold: bytes, in_all: Amounts, lease_ms: int = redis_schema.LEASE_MS
) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `extend` script for a running request.

    Raises ContractError if the hold is none.
    """
    request = decode_hold(hold).request
    keys = [redis_schema.OPEN, redis_schema.HOLDS, redis_schema.EPOCH, redis_schema.identity_key(request.token_id)]
    keys += [redis_schema.project_key(request.project_id), redis_schema.GLOBAL_LIMITS]
    known: list[str | bytes] = [redis_schema.USED_PREFIX, MARK_PREFIX, request.request_id, hold]
    return keys, [*known, in_all.tokens or 0, in_all.cost or 0, lease_ms]


def decode_extension(reply: Sequence[bytes | int]) -> bytes | NotExtended:
    """Read the answer of the `extend` script: the hold from now on, or why there is none. Raises ContractError."""
    try:
        hold, standing = map(as_bytes, reply)
        return hold or NotExtended(next(iter(decode_standing(standing)), None))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable extension reply: {error}") from error


def encode_leases(
    request_ids: Iterable[str], at_most: int = 100, lease_ms: int = redis_schema.LEASE_MS
) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of the `leases` script, which renews these and returns so many expired holds at most."""
    return [redis_schema.OPEN, redis_schema.HOLDS, redis_schema.RENEWED], [lease_ms, at_most, *request_ids]


def decode_leases(reply: Sequence[bytes | int]) -> list[tuple[str, bytes]]:
    """Read the answer of `leases`: ids of requests whose lease has expired, and their holds. Raises ContractError."""
    try:
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [(as_bytes(request_id).decode(), as_bytes(hold)) for request_id, hold in pairs]
    except (TypeError, ValueError) as error:
        raise ContractError(f"unreadable leases: {error}") from error


def encode_burial(request_id: str, hold: bytes, reason: str) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `bury` script, which sets a hold aside that nobody can read."""
    letter: list[str | bytes] = [redis_schema.USAGE_FIELD, hold, "reason", reason[:500], "entry", request_id]
    keys = [redis_schema.OPEN, redis_schema.HOLDS, redis_schema.USAGE_DEAD_LETTERS]
    return keys, [request_id, redis_schema.DEAD_LETTERS_KEPT, *letter]


def encode_restore(
    scope: Scope, scope_id: str, counters: Iterable[Counter], forget_at_ms: int | None = None
) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of the `restore` script. `forget_at_ms`: when a token's record is forgotten, too."""
    project_id = scope_id if scope is Scope.PROJECT else ""
    known: list[str | int] = []
    for counter in counters:
        known += [field_of(counter.measure, counter.window, project_id), counter.period, counter.used]
    return [redis_schema.used_key(scope, scope_id)], ["" if forget_at_ms is None else forget_at_ms, *known]
