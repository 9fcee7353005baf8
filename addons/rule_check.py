"""Checks a filter, and tells which recorded requests it fits; a program, so that a fault or an endless search ends it.

It reads one JSON object from its standard input, and writes one to its standard output:
`{"filter": text, "records": base64 of what shared/flow_schema.py encodes as a batch, or ""}` is answered with
`{"is_valid", "position", "message", "matched": [request ids], "unsure": [request ids], "looked_at": count}`. About
those in `unsure` the body decides, and it is not there, or not whole. It needs neither settings nor Redis.
"""

import base64
import binascii
import sys
from collections.abc import Iterable
from typing import BinaryIO

import msgspec

from addons import flow_filters
from addons.filter_subject import Subject
from addons.flow_filters import FilterError
from shared.flow_schema import FLOWS_FIELD, FlowRecord, Message, Phase, decode_batch, remark
from shared.redis_schema import ContractError

MOST_BYTES = 128 << 20


class Asked(msgspec.Struct):
    """What is to be checked."""

    filter: str
    records: str = ""


class Answer(msgspec.Struct):
    """What came of it. `position` counts the filter's characters from 0."""

    is_valid: bool
    position: int | None = None
    message: str = ""
    matched: list[str] = []
    unsure: list[str] = []
    looked_at: int = 0


def subject_of(record: FlowRecord) -> Subject:
    """Return a recorded request as it was when rules were asked about it, as far as it was recorded."""
    before = msgspec.structs.replace(
        record,
        phase=Phase.WAITING,
        outcome="",
        error_code=None,
        prompt_tokens=None,
        completion_tokens=None,
        cost_nano_usd=None,
        rule="",
    )
    message = record.request
    body = message.body if message.body is not None or message.size else b""
    return Subject(
        record.method,
        record.url,
        message.headers,
        record.client,
        body,
        not message.is_cut,
        lambda tags: remark(msgspec.structs.replace(before, tags=list(tags))),
    )


def check(asked: Asked) -> Answer:
    """Return what is to be said of a filter."""
    try:
        found = flow_filters.parse(asked.filter)
        records = _latest(decode_batch({FLOWS_FIELD.encode(): _decoded(asked.records)})) if asked.records else []
    except FilterError as error:
        return Answer(False, error.position, error.message)
    except ContractError as error:
        return Answer(True, None, f"The records cannot be read: {error}")
    fits = [(record.request_id, found.fits(subject_of(record))) for record in records]
    matched = [request_id for request_id, verdict in fits if verdict]
    return Answer(True, None, "", matched, [each for each, verdict in fits if verdict is None], len(records))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ContractError(str(error)) from error


def _latest(records: Iterable[FlowRecord]) -> list[FlowRecord]:
    """Return the last record of each request; its body may stand in an earlier one."""
    latest: dict[str, FlowRecord] = {}
    for record in sorted(records, key=lambda record: record.revision):
        earlier = latest.get(record.request_id)
        latest[record.request_id] = _with_body_of(record, earlier.request) if earlier else record
    return list(latest.values())


def _with_body_of(record: FlowRecord, earlier: Message) -> FlowRecord:
    message = record.request
    if message.body is not None or not message.is_unchanged:
        return record
    told = msgspec.structs.replace(message, body=earlier.body, is_cut=earlier.is_cut)
    return msgspec.structs.replace(record, request=told)


def run(source: BinaryIO, sink: BinaryIO, most_bytes: int = MOST_BYTES) -> int:
    """Answer one question; returns the program's exit code."""
    asked = source.read(most_bytes + 1)
    if len(asked) > most_bytes:
        return _failed(f"more than {most_bytes} bytes")
    try:
        answer = check(msgspec.json.decode(asked, type=Asked))
    except msgspec.MsgspecError as error:
        return _failed(str(error))
    sink.write(msgspec.json.encode(answer))
    return 0


def _failed(reason: str) -> int:
    print(f"the question cannot be read: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run(sys.stdin.buffer, sys.stdout.buffer))
