"""Workers of the data plane, as far as the control plane hears of them: what they tell is in flight."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import redis

from shared import holds_schema, live_schema, redis_schema
from shared.holds_schema import OpenRequest
from shared.live_schema import RunningRequest, Snapshot, State
from shared.redis_schema import ControlMessage, Cut
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID

RUNNING = RunningRequest(
    request_id="r1",
    project_id=str(PROJECT_ID),
    token_id=str(TOKEN_ID),
    token_label="nightly",
    provider="openai",
    route="chat.completions",
    model="gpt-4o",
    started_at=NOW,
    is_stream=True,
    state=State.STREAMING,
    chunks=12,
    response_bytes=4000,
    completion_tokens=11,
)


def running(request_id: str, seconds: float = 0, **fields: Any) -> RunningRequest:
    """A request that began some seconds after the first."""
    started = NOW + timedelta(seconds=seconds)
    return msgspec.structs.replace(RUNNING, request_id=request_id, started_at=started, **fields)


@dataclass(frozen=True)
class Workers:
    """Workers that are there, and say so."""

    client: redis.Redis

    def appear(self, *names: str) -> None:
        now = redis_schema.to_ms(datetime.now(UTC))
        self.client.zadd(redis_schema.WORKERS, dict.fromkeys(names, now))

    def tell(self, name: str, *requests: RunningRequest, counts: dict[str, int] | None = None) -> None:
        """Tell what is in flight on a worker; it is counted by project unless counts are given."""
        self.appear(name)
        told = Snapshot(NOW, counts if counts is not None else _counted(requests), list(requests))
        self.client.set(live_schema.snapshot_key(name), live_schema.encode_snapshot(told))

    def hold(self, request_id: str, project_id: object = PROJECT_ID, token_id: object = TOKEN_ID) -> None:
        """Hold a request, as its admission does."""
        request = OpenRequest(request_id, NOW, "openai", "chat.completions", "POST")
        taken = msgspec.msgpack.encode([str(token_id), str(project_id), "e1", 1, 0, 0, 0])
        self.client.hset(redis_schema.HOLDS, request_id, holds_schema.encode_request(request) + b"\n" + taken)


def _counted(requests: Sequence[RunningRequest]) -> dict[str, int]:
    ids = [request.project_id for request in requests]
    return {project_id: ids.count(project_id) for project_id in ids}


class Ear:
    """Hears what all workers hear."""

    def __init__(self, client: redis.Redis) -> None:
        self._channel = client.pubsub(ignore_subscribe_messages=True)
        self._channel.subscribe(redis_schema.CONTROL_CHANNEL)
        while not self._channel.subscribed or self._channel.get_message(timeout=0.1):
            pass

    def heard(self) -> list[ControlMessage]:
        """What was said until now."""
        found = []
        while message := self._channel.get_message(timeout=0.1):
            found.append(redis_schema.decode_control(message["data"]))
        return found

    def cuts(self) -> list[str]:
        """The requests that were to be cut."""
        return [message.request_id for message in self.heard() if isinstance(message, Cut)]

    def close(self) -> None:
        self._channel.close()
