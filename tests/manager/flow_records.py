"""Flows as the data plane tells of them."""

from typing import Any

import msgspec
import redis

from shared.flow_schema import FLOWS, FLOWS_FIELD, FlowRecord, Message, Phase, encode_batch, encode_record, held_key
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID

ASKED, ANSWERED = b'{"model": "gpt-4o"}', b'{"id": "chatcmpl-1"}'
RECORD = FlowRecord(
    request_id="r1",
    revision=1,
    phase=Phase.ENDED,
    worker="host:1",
    started_at=NOW.timestamp(),
    project_id=str(PROJECT_ID),
    project_name="search team",
    token_id=str(TOKEN_ID),
    token_label="nightly",
    provider="openai",
    dialect="openai",
    route="chat.completions",
    model="gpt-4o",
    method="POST",
    url="https://api.openai.com/v1/chat/completions",
    http_version="HTTP/1.1",
    client="192.0.2.7",
    request=Message([("authorization", "Bearer sk-llmp-****abcd")], len(ASKED), ASKED),
    response=Message([("content-type", "application/json")], len(ANSWERED), ANSWERED),
    status=200,
    has_bodies=True,
    duration_ms=812.5,
    outcome="finished",
    prompt_tokens=10,
    completion_tokens=20,
    cost_nano_usd=1_500_000,
    tags=["money"],
    rule="no salaries",
)


def record(request_id: str = "r1", **fields: Any) -> FlowRecord:
    """A request that has ended, unless fields say otherwise."""
    return msgspec.structs.replace(RECORD, request_id=request_id, **fields)


def tell(client: redis.Redis, *records: FlowRecord, stream: str = FLOWS) -> None:
    """Tell of them in one entry of the feed."""
    client.xadd(stream, {FLOWS_FIELD: encode_batch(records)})


def hold(client: redis.Redis, told: FlowRecord) -> None:
    """Tell of a request that is held, for whoever decides."""
    client.set(held_key(told.request_id), encode_record(told), px=60_000)
