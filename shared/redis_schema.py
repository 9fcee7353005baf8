"""The contract in Redis: key names, how each record is written and read, and the Lua scripts that decide.

Every key carries the hash tag `{v1}`, so that one admission touches one slot and works on a Cluster, too. `v1` is
the version of this contract: a release that changes it publishes beside the old one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from shared.limits_schema import decode_limits, decode_standing, encode_limits, field_of
from shared.models import (
    NOTHING,
    WINDOWS,
    Amounts,
    Caller,
    Denial,
    Limit,
    LimitState,
    Measure,
    Policy,
    Project,
    Scope,
    Token,
    UsageEvent,
    Window,
)

PREFIX = "llmproxy:{v1}:"
EPOCH = f"{PREFIX}epoch"
# The id of the SQL database that all of this was published from.
DATABASE = f"{PREFIX}database"
PROJECT_PREFIX = f"{PREFIX}project:"
TOKEN_PREFIX = f"{PREFIX}token:"
IDENTITY_PREFIX = f"{PREFIX}identity:"
USAGE_STREAM = f"{PREFIX}usage"
USAGE_GROUP = "collector"
USAGE_DEAD_LETTERS = f"{PREFIX}usage:dead"
DEAD_LETTERS_KEPT = 10_000
USAGE_FIELD = "event"
# The limits of all projects together.
GLOBAL_LIMITS = f"{PREFIX}limits"
USED_PREFIX = f"{PREFIX}used:"
# What tokens of which model cost (see shared/prices.py).
PRICES = f"{PREFIX}prices"
# Requests that run: their ids, by when their leases expire; and by id what is held for each (see holds_schema).
OPEN = f"{PREFIX}open"
HOLDS = f"{PREFIX}holds"
# When any worker last renewed leases, in ms.
RENEWED = f"{PREFIX}renewed"
# Which workers there are, by when they were last heard of, in ms.
WORKERS = f"{PREFIX}workers"
# What every worker hears at once: revocations, requests that are to be cut, breakers that opened or closed.
CONTROL_CHANNEL = f"{PREFIX}control"
# Every origin whose pages some active project lets in.
CORS_ORIGINS = f"{PREFIX}cors_origins"
# Breakers that are not closed: subject → BreakerChange.
BREAKERS = f"{PREFIX}breakers"

# How long a worker counts as there after it was last heard of.
WORKER_MS = 15_000

# What was last found out of upstream keys by asking their providers: key id → JSON.
KEY_PROBES = f"{PREFIX}key_probes"
# How many requests were refused: project id ("" if not known) and code → count. And what is being written down of it.
REFUSALS = f"{PREFIX}refusals"
REFUSALS_TAKEN = f"{PREFIX}refusals:taken"

# How long a request counts as running after the last sign of its worker.
LEASE_MS = 30_000

# An expired token is still told apart from an unknown one for this long.
REMEMBER_EXPIRED = timedelta(days=7)


class Revoked(msgspec.Struct, frozen=True, tag="revoked"):
    """A token or project (`kind`) that may not be used any longer: its live streams are to be cut."""

    kind: Literal["token", "project"]
    id: str


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """A request that an operator ends, if it still runs."""

    request_id: str


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """What somebody has decided about a held request. `is_edited`: its new body waits in Redis (see flow_schema)."""

    request_id: str
    verdict: Literal["resume", "refuse"]
    is_edited: bool = False


class RulesChanged(msgspec.Struct, frozen=True, tag="rules"):
    """Other rules have come into force."""

    version: int


class BreakerChange(msgspec.Struct, frozen=True, tag="breaker"):
    """A breaker that opened or closed. `subject` is `origin:<scheme, host and port>` or `key:<upstream key id>`.

    `until_ms` (since the epoch) is when an open one lets a probe through, `openings` how often it has opened in a
    row, `reason` why, in one word such as `429` or `connect_refused`.
    """

    subject: str
    is_open: bool
    reason: str = ""
    until_ms: int = 0
    openings: int = 0


ControlMessage = Revoked | Cut | Decided | RulesChanged | BreakerChange

_control_decoder = msgspec.json.Decoder(ControlMessage)
_policy_decoder = msgspec.json.Decoder(Policy)
_project_decoder = msgspec.json.Decoder(Project)
_event_decoder = msgspec.json.Decoder(UsageEvent)


class ContractError(Exception):
    """A record in Redis does not fit this version of the contract."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Admission's no. The token's id and label are empty when no such token is known; falsy on purpose.

    `limit` is the one that denied, if one did, and `retry_after_ms` is then when the same request could pass: -1 is
    never.
    """

    reason: Denial
    token_id: str
    token_label: str
    project: Project | None
    limit: LimitState | None = None
    retry_after_ms: int | None = None

    def __bool__(self) -> bool:
        return False


def token_key(digest: str) -> str:
    """Key of the record that admission reads and counts in."""
    return TOKEN_PREFIX + digest


def identity_key(token_id: str) -> str:
    """Key of what is known of a token by its id: its version, its record, that of the secret it had before."""
    return IDENTITY_PREFIX + token_id


def project_key(project_id: str) -> str:
    """Key of a project's published record."""
    return PROJECT_PREFIX + project_id


def used_key(scope: Scope, scope_id: str = "") -> str:
    """Key of what the requests of a token have used, or those of any project and of all: these are one."""
    return USED_PREFIX + (f"{scope}:{scope_id}" if scope is Scope.TOKEN else "shared")


@cache
def script(name: str) -> str:
    """Source of `shared/lua/<name>.lua` with the parts that it needs before it; only commands and Lua of Redis 7.0."""
    source = files("shared").joinpath("lua", f"{name}.lua").read_text()
    needs = re.search(r"^-- Needs: (.+)\.$", source, re.MULTILINE)
    return "".join(map(script, needs[1].split(", "))) + source if needs else source


def encode_admission(
    digest: str,
    providers: Sequence[str],
    amounts: Amounts = NOTHING,
    request: bytes = b"",
    lease_ms: int = LEASE_MS,
    is_peek: bool = False,
    request_id: str = "",
) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `admit` script for a token digest and the providers that have the route.

    `amounts` is what the request may need at most. `request` is what is remembered of it while it runs
    (see holds_schema) under its id; empty: it is not held, so that what it takes stays. A peek writes nothing.
    """
    mode = "peek" if is_peek else "take"
    arguments: list[str | bytes | int] = [PROJECT_PREFIX, USED_PREFIX, mode, *encode_amounts(amounts)]
    keys = [token_key(digest), EPOCH, GLOBAL_LIMITS, OPEN, HOLDS]
    return keys, [*arguments, request, request_id, lease_ms, *providers]


def encode_amounts(amounts: Amounts) -> tuple[int | str, int | str]:
    """Return tokens and cost as the scripts take them."""
    return ("" if amounts.tokens is None else amounts.tokens, "" if amounts.cost is None else amounts.cost)


def decode_admission(reply: Sequence[bytes | int]) -> Caller | Denied:
    """Read the answer of the `admit` script. Raises ContractError if it does not fit."""
    try:
        denial, token_id, label, policy, number, record, hold, most, of_token, of_all, *standing = reply
        project = _project(as_bytes(record)) if record else None
        if reason := _text(denial):
            limit = decode_standing(as_bytes(standing[0]))[0] if standing else None
            retry_after_ms = int(number) if standing else None
            return Denied(Denial(reason), _text(token_id), _text(label), project, limit, retry_after_ms)
        if project is None:
            raise ContractError("an admission came without its project record")
        narrowing = _text(policy)
        narrowed = _policy_decoder.decode(narrowing) if narrowing else Policy()
        held = as_bytes(hold) or None
        limits = _all_limits(most, of_token, as_bytes(record), of_all) if standing else ()
        states = _standing(limits, standing) if standing else ()
        return Caller(_text(token_id), _text(label), project, int(number), narrowed, held, states, limits)
    except (TypeError, ValueError, IndexError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable admission reply: {error}") from error


# Few projects make many requests, and each record is read as often as it is sent.
_project = lru_cache(maxsize=1024)(_project_decoder.decode)


@lru_cache(maxsize=1024)
def _all_limits(
    most: bytes | int, of_token: bytes | int, record: bytes, of_all: bytes | int
) -> tuple[tuple[Scope, Limit], ...]:
    of_life = (Limit(Measure.REQUESTS, Window.LIFE, int(most)),) if most else ()
    own, common = of_life + decode_limits(as_bytes(of_token)), decode_limits(as_bytes(of_all))
    scopes = {Scope.TOKEN: own, Scope.PROJECT: _project(record).limits, Scope.GLOBAL: common}
    return tuple((scope, limit) for scope, limits in scopes.items() for limit in limits)


def _standing(limits: Sequence[tuple[Scope, Limit]], told: Iterable[Any]) -> tuple[LimitState, ...]:
    """Several come with each admission, so nothing is called that need not be."""
    values = iter(told)
    states = zip(map(limits.__getitem__, values), values, values, strict=True)
    return tuple(
        [
            LimitState(scope, limit.measure, limit.window, limit.amount, int(left), None if reset < 0 else reset)
            for (scope, limit), left, reset in states
        ]
    )


def encode_token(token: Token) -> tuple[list[str], list[str | int | bytes]]:
    """Return KEYS and ARGV of the `publish_token` script.

    The secret that was replaced leads to the record as long as it works; a moment that is over ends it at once.
    """
    fields: list[str | int | bytes] = ["id", token.id, "label", token.label, "project_id", token.project_id]
    fields += ["expires_at", to_ms(token.expires_at)]
    fields += ["max_requests", "" if token.max_requests is None else token.max_requests]
    fields += ["policy", "" if token.policy == Policy() else msgspec.json.encode(token.policy).decode()]
    fields += ["limits", encode_limits(token.limits)]
    last_used = 0 if token.last_used_at is None else to_ms(token.last_used_at)
    forget_at = to_ms(token.expires_at + REMEMBER_EXPIRED)
    notice = "" if token.is_active else encode_control(Revoked("token", token.id))
    counters = [token.request_count, last_used]
    previous = token_key(token.previous_digest or token.digest)
    works_until = 0 if token.previous_until is None else to_ms(token.previous_until)
    keys = [token_key(token.digest), used_key(Scope.TOKEN, token.id), identity_key(token.id), previous]
    head: list[str | int] = [token.version, CONTROL_CHANNEL, notice, *counters, forget_at, works_until]
    return keys, [*head, int(token.is_active), *fields]


def encode_purged_token(
    token_id: str, digest: str, version: int, forget_at: datetime
) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of the `purge_token` script; `digest` is that of its last secret."""
    keys = [identity_key(token_id), token_key(digest), used_key(Scope.TOKEN, token_id)]
    return keys, [version, CONTROL_CHANNEL, encode_control(Revoked("token", token_id)), to_ms(forget_at)]


def encode_purged_project(project_id: str, version: int, forget_at: datetime) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of the `purge_project` script."""
    keys = [project_key(project_id), used_key(Scope.PROJECT, project_id)]
    fields = [field_of(measure, window, project_id) for measure, windows in WINDOWS.items() for window in windows]
    notice = encode_control(Revoked("project", project_id))
    return keys, [version, CONTROL_CHANNEL, notice, to_ms(forget_at), *fields]


def encode_project(project: Project) -> tuple[list[str], list[str | int | bytes]]:
    """Return KEYS and ARGV of the `publish_project` script; provider keys are inside, sealed."""
    record = msgspec.json.encode(project).decode()
    fields: list[str | int | bytes] = [
        "is_active",
        int(project.is_active),
        "provider",
        project.provider,
        "record",
        record,
    ]
    fields += ["limits", encode_limits(project.limits, project.id)]
    notice = "" if project.is_active else encode_control(Revoked("project", project.id))
    return [project_key(project.id)], [project.version, CONTROL_CHANNEL, notice, *fields]


def encode_control(message: ControlMessage) -> str:
    """Return what is published on the control channel."""
    return msgspec.json.encode(message).decode()


def decode_control(payload: bytes) -> ControlMessage:
    """Read what came over the control channel, or a field of the breakers. Raises ContractError."""
    try:
        message: ControlMessage = _control_decoder.decode(payload)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable control message: {error}") from error
    return message


def origin_subject(base_url: str) -> str:
    """Name the breaker of a provider's origin: scheme, host and port, without the path."""
    scheme, _, rest = base_url.partition("://")
    return f"origin:{scheme}://{rest.partition('/')[0]}"


def key_subject(key_id: str) -> str:
    """Name the breaker of an upstream key."""
    return f"key:{key_id}"


def probe_key(subject: str) -> str:
    """Key of the short-lived lock that lets one worker probe an open breaker."""
    return f"{PREFIX}probe:{subject}"


def encode_refusal(project_id: str, code: str) -> str:
    """Name the field in which refusals are counted."""
    return f"{project_id}|{code}"


def decode_refusal(field: bytes) -> tuple[str, str]:
    """Return project id ("" if not known) and code of a field."""
    project_id, _, code = field.decode().rpartition("|")
    return project_id, code


def encode_event(event: UsageEvent) -> dict[str, bytes]:
    """Return the stream entry of one usage event."""
    return {USAGE_FIELD: msgspec.json.encode(event)}


def decode_event(entry: dict[bytes, bytes]) -> UsageEvent:
    """Read a stream entry. Raises ContractError for anything that is not one usage event."""
    try:
        return _event_decoder.decode(entry[USAGE_FIELD.encode()])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable usage event: {error!r}") from error


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime."""
    return round(moment.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """The aware UTC datetime of milliseconds since the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def as_bytes(value: bytes | int) -> bytes:
    """Return a part of a reply that has to be text. Raises TypeError for a number."""
    if not isinstance(value, bytes):
        raise TypeError("not bytes")
    return value
