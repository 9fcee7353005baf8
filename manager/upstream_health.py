"""Which keys and origins the data plane has set aside: the breakers that its workers share in Redis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

import redis

from shared import logs, redis_schema
from shared.redis_schema import BreakerChange, ContractError

# Why the breaker of a key that its provider does not take is open.
REFUSED = frozenset(("status_401", "status_402", "status_403"))

log = logs.get("upstream_health")


@dataclass(frozen=True)
class Health:
    """Whether something is used. From `until` on the next request tries it; `openings` is how often in a row it failed.

    `reason` is that of the breaker: `status_429`, `refused` and so on.
    """

    state: Literal["ok", "set_aside"] = "ok"
    reason: str | None = None
    until: datetime | None = None
    openings: int = 0


OK = Health()


class UpstreamHealth:
    """Reads what is set aside and takes it back. Never fails: without Redis nobody knows, and nothing is taken back."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client

    def of(self, subjects: Iterable[str]) -> dict[str, Health | None]:
        """Return the health of each subject, None where it is not known, in one round trip."""
        wanted = list(dict.fromkeys(subjects))
        if not wanted:
            return {}
        try:
            found = cast(Sequence[bytes | None], self._redis.hmget(redis_schema.BREAKERS, wanted))
        except redis.RedisError:
            return dict.fromkeys(wanted)
        return {subject: health_of(payload) for subject, payload in zip(wanted, found, strict=True)}

    def forgive(self, *key_ids: UUID) -> None:
        """Close the breakers of keys that have been replaced or removed: what is new has not failed yet."""
        self.forgive_subjects([redis_schema.key_subject(str(key_id)) for key_id in key_ids])

    def forgive_refused(self, key_id: UUID) -> None:
        """Close the breaker of a key that its provider takes again, unless it is open for another reason than that.

        A provider's time to wait (429) is not over because it lists its models.
        """
        subject = redis_schema.key_subject(str(key_id))
        found = self.of([subject])[subject]
        if found and found.reason in REFUSED:
            self.forgive_subjects([subject])

    def forgive_subjects(self, subjects: Sequence[str]) -> None:
        """Close these breakers."""
        closed = [BreakerChange(subject, is_open=False) for subject in subjects]
        if not closed:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hdel(redis_schema.BREAKERS, *[change.subject for change in closed])
                for change in closed:
                    pipeline.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(change))
                pipeline.execute()
        except redis.RedisError as error:
            log.warning("breaker_not_closed", subjects=[change.subject for change in closed], reason=str(error))


def health_of(payload: bytes | None) -> Health | None:
    """Return what a field of the breakers says, None if that is not readable."""
    if payload is None:
        return OK
    try:
        change = redis_schema.decode_control(payload)
        if not isinstance(change, BreakerChange):
            return None
        until = redis_schema.from_ms(change.until_ms)
    except (ContractError, OverflowError, ValueError, OSError):
        return None
    return Health("set_aside", change.reason, until, change.openings) if change.is_open else OK
