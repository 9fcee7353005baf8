"""Records of flows, as workers tell them: made up, and put into the feed as the contract has it."""

from typing import Any

import msgspec
import redis

from shared import flow_schema
from shared.flow_schema import FLOWS, FLOWS_FIELD, FlowRecord, Message, Phase

STARTED = 1_777_000_000.0
ASKED = b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"hi"}]}'
JSON = [("content-type", "application/json")]
EVENTS = [("content-type", "text/event-stream")]


def request_id(number: int) -> str:
    """The id of a request."""
    return f"{number:032x}"


def record(number: int = 1, revision: int = 1, phase: Phase = Phase.WAITING, **changes: Any) -> FlowRecord:
    """A record of a chat."""
    told: dict[str, Any] = {
        "request_id": request_id(number),
        "revision": revision,
        "phase": phase,
        "worker": "host:1",
        "started_at": STARTED + number,
        "project_id": "018f0000-0000-7000-8000-00000000000a",
        "project_name": "search team",
        "token_id": "018f0000-0000-7000-8000-00000000000b",
        "token_label": "nightly",
        "provider": "openai",
        "dialect": "openai",
        "route": "chat.completions",
        "model": "gpt-5-mini",
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "http_version": "HTTP/1.1",
        "client": "10.1.2.3",
        "request": Message(JSON, len(ASKED), ASKED),
        "has_bodies": True,
    }
    return FlowRecord(**told | changes)


def streaming(number: int = 1, revision: int = 2, body: bytes = b"data: {}\n\n", **changes: Any) -> FlowRecord:
    """A record of a chat whose answer has begun."""
    unchanged = Message(JSON, len(ASKED), is_unchanged=True)
    told = {"request": unchanged, "response": Message(EVENTS, len(body), body), "status": 200, "is_stream": True}
    return record(number, revision, Phase.STREAMING, **told | {"first_byte_ms": 120.0} | changes)


def ended(number: int = 1, revision: int = 3, body: bytes = b'{"ok":true}', **changes: Any) -> FlowRecord:
    """The last record of a chat."""
    told: dict[str, Any] = {"response": Message(JSON, len(body), body), "status": 200, "outcome": "finished"}
    told |= {"first_byte_ms": 120.0, "duration_ms": 900.0, "prompt_tokens": 12, "completion_tokens": 34}
    return record(number, revision, Phase.ENDED, **told | {"cost_nano_usd": 1_500_000, "attempts": 1} | changes)


def held(number: int = 1, revision: int = 2, **changes: Any) -> FlowRecord:
    """A record of a chat that is held, of which the feed shows no body."""
    told = {"request": Message(JSON, len(ASKED), note="metadata only"), "rule": "patients", "tags": ["clinic"]}
    return record(number, revision, Phase.HELD, **told | {"held_until": STARTED + 60} | changes)


def tell(client: "redis.Redis", *records: FlowRecord, stream: str = FLOWS) -> None:
    """Put records into the feed, as one entry."""
    client.xadd(stream, {FLOWS_FIELD: flow_schema.encode_batch(records)})


def hold(client: "redis.Redis", told: FlowRecord, body: bytes = ASKED) -> None:
    """Tell that a request is held, with its whole body beside the feed."""
    whole = msgspec.structs.replace(told, request=Message(JSON, len(body), body))
    client.set(flow_schema.held_key(told.request_id), flow_schema.encode_record(whole), px=60_000)
    tell(client, told)
