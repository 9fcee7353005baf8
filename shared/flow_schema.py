"""The contract about flows: what workers tell of requests to whoever inspects them, redacted before it leaves them.

A worker tells of a request by records. Each is the whole of what is known when it is made, and the one with the
highest revision counts; only bodies that have not changed may be left out until the last record, which has everything.
Many records travel together in one entry of a stream that is bounded in bytes, oldest out.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from shared.redis_schema import PREFIX, ContractError
from shared.rules_schema import LONGEST_HOLD_SECONDS

FLOWS = f"{PREFIX}flows"
# The same of requests that nobody was let in with: whoever has no token pushes nobody else out.
STRANGERS = f"{PREFIX}flows:strangers"
# How many bytes the entries of each stream have together; kept by `feed.lua`.
FLOWS_BYTES, STRANGERS_BYTES = f"{FLOWS}:bytes", f"{STRANGERS}:bytes"
FLOWS_FIELD = "flows"
# What is known of a request that is held, by its id, as long as it may be: the record with its whole body.
HELD_PREFIX = f"{PREFIX}held:"
# What a held request's body is replaced by, by its id, until the worker has taken it.
EDIT_PREFIX = f"{PREFIX}edit:"
# What has been decided about a held request, by its id: the same `Decided` as is told on the control channel, for a
# worker that was not listening just then. The first decision stands.
DECIDED_PREFIX = f"{PREFIX}decided:"
# How long both are kept: longer than any request is held, so that no deadline overtakes a decision.
DECIDED_MS = (LONGEST_HOLD_SECONDS + 60) * 1000
# Larger bodies of held requests are not shown whole, and so cannot be edited.
MOST_EDITED_BYTES = 1 << 20


class Phase(StrEnum):
    """How far a request has come."""

    WAITING = "waiting"
    # Kept from its provider until somebody decides, or its time is over.
    HELD = "held"
    STREAMING = "streaming"
    ENDED = "ended"


class Message(msgspec.Struct, frozen=True, array_like=True):
    """A head and what may be shown of a body. New fields go to the end and have a default.

    `body` is decoded and redacted. None: it is not shown, for the reason in `note`, or has not changed since the
    record before (`is_unchanged`). `size` is what has passed so far, in bytes, as it was sent. `is_cut`: the body goes
    on where this one ends.
    """

    headers: list[tuple[str, str]]
    size: int = 0
    body: bytes | None = None
    is_cut: bool = False
    note: str = ""
    is_unchanged: bool = False


class FlowRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one request. New fields go to the end and have a default.

    `started_at` is seconds since the epoch; times in ms are since then. `url` is where the client's request went to,
    or will, without its query unless bodies are shown. `status` 0: no answer yet, or none at all. `tags` are those of
    rules. `held_until` is in seconds since the epoch.
    """

    request_id: str
    revision: int
    phase: Phase
    worker: str
    started_at: float
    project_id: str
    project_name: str
    token_id: str
    token_label: str
    provider: str
    dialect: str
    route: str
    model: str | None
    method: str
    url: str
    http_version: str
    client: str
    request: Message
    response: Message | None = None
    status: int = 0
    is_stream: bool = False
    chunks: int = 0
    first_byte_ms: float | None = None
    duration_ms: float | None = None
    outcome: str = ""
    error_code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_estimate: bool = False
    cost_nano_usd: int | None = None
    attempts: int = 0
    upstream_key_id: str | None = None
    tags: list[str] = []
    rule: str = ""
    held_until: float | None = None
    has_bodies: bool = False


_batch_decoder = msgspec.msgpack.Decoder(list[FlowRecord])
_record_decoder = msgspec.msgpack.Decoder(FlowRecord)
encode_record = msgspec.msgpack.encode


def encode_batch(records: Sequence[FlowRecord]) -> bytes:
    """Return what one entry of the stream holds."""
    return msgspec.msgpack.encode(records)


def join_records(records: Sequence[bytes]) -> bytes:
    """Return what one entry of the stream holds, of records that have been encoded one by one."""
    return msgspec.msgpack.encode([msgspec.Raw(record) for record in records])


def encode_feed(
    batch: bytes, most_bytes: int, is_of_strangers: bool = False
) -> tuple[list[str], list[str | bytes | int]]:
    """Return KEYS and ARGV of the `feed` script, which keeps a stream within so many bytes."""
    keys = [STRANGERS, STRANGERS_BYTES] if is_of_strangers else [FLOWS, FLOWS_BYTES]
    return keys, [most_bytes, FLOWS_FIELD, batch]


def decode_batch(entry: Mapping[bytes, bytes]) -> list[FlowRecord]:
    """Read an entry of the stream. Raises ContractError."""
    try:
        return _batch_decoder.decode(entry[FLOWS_FIELD.encode()])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable flows: {error!r}") from error


def decode_record(told: bytes) -> FlowRecord:
    """Read what is known of a held request. Raises ContractError."""
    try:
        return _record_decoder.decode(told)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable flow: {error!r}") from error


def held_key(request_id: str) -> str:
    """Key of what is known of a held request."""
    return HELD_PREFIX + request_id


def edit_key(request_id: str) -> str:
    """Key of what a held request's body is replaced by."""
    return EDIT_PREFIX + request_id


def decided_key(request_id: str) -> str:
    """Key of what has been decided about a held request."""
    return DECIDED_PREFIX + request_id


# What a remark may say of a request.
REMARKS = tuple("request project token provider route model tokens cost outcome code rule tag state".split())


def remark(record: FlowRecord) -> str:
    """Return the line that stands beside a flow wherever flows are shown, and that filters find it by.

    Rules see the same line of a request that is about to go out, as far as it is known then. It has `name=value` for
    each fact, with names of `REMARKS`. In a value stands no `=`, so that none passes for another fact.
    """
    words = [f"request={record.request_id}", f"project={_word(record.project_name or record.project_id)}"]
    words += [f"token={_word(record.token_label or record.token_id)}", f"provider={record.provider}"]
    words += [f"route={record.route}"] if record.route else []
    words += [f"model={_word(record.model)}"] if record.model else []
    if record.prompt_tokens is not None or record.completion_tokens is not None:
        about = "~" if record.is_estimate else ""
        words.append(f"tokens={about}{record.prompt_tokens or 0}+{record.completion_tokens or 0}")
    if record.cost_nano_usd is not None:
        words.append(f"cost={record.cost_nano_usd / 1e9:.6f}USD")
    words += [f"outcome={record.outcome}"] if record.outcome else []
    words += [f"code={record.error_code}"] if record.error_code else []
    words += [f"rule={_word(record.rule)}"] if record.rule else []
    words += [f"tag={_word(tag)}" for tag in record.tags]
    words += ["state=held"] if record.phase is Phase.HELD else []
    return " ".join(words)


def _word(text: str) -> str:
    is_plain = text.isprintable() and text != "" and not any(mark in text for mark in ' "=\\')
    return text if is_plain else quoted(text)


def quoted(text: str) -> str:
    """Return a text as one word of a remark, with nothing in it that could end the word or pass for another one."""
    return msgspec.json.encode(text).decode().replace("=", r"\u003d")
