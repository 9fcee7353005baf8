"""Tells in Redis, off the path of any request, what is in flight on this worker; but only while somebody watches."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache

from addons import words
from addons.call import Call
from addons.endurance import Repeating
from addons.meter import shortened
from addons.presence import own_name
from addons.store import Store, StoreUnavailable
from addons.unsaid import completion_so_far
from shared import logs
from shared.live_schema import MOST_TOLD, RunningRequest, Snapshot, State
from shared.models import Caller

# Between two looks whether anybody watches.
PAUSE_SECONDS = 1.0


def snapshot_of(calls: Sequence[Call], now: datetime, most: int = MOST_TOLD) -> Snapshot:
    """Return what is told of these calls, which stand in the order in which they came."""
    owned = [(call, call.caller) for call in calls if call.caller is not None]
    counts = Counter([caller.project.id for _, caller in owned])
    return Snapshot(now, dict(counts), list(_told(owned[:most])))


def _told(owned: Iterable[tuple[Call, Caller]]) -> Iterable[RunningRequest]:
    # Anybody may call a label or a model after a secret. There are few of them.
    masked = cache(logs.redact)
    for call, caller in owned:
        model = words.word(call, shortened(call.answer.model, 256) or call.model)
        yield RunningRequest(
            call.request_id,
            caller.project.id,
            caller.token_id,
            masked(words.word(call, caller.token_label) or ""),
            caller.project.provider,
            call.route.name if call.route else "",
            masked(model) if model else None,
            call.occurred_at,
            call.is_stream,
            _state(call),
            call.chunks,
            call.response_bytes,
            completion_so_far(call) or None,
            rule=masked(call.rule),
            held_until=call.held_until,
        )


def _state(call: Call) -> State:
    if call.held_until is not None:
        return State.HELD
    return State.STREAMING if call.head_sent else State.WAITING


class Live:
    """One task for the life of the worker; `calls` gives the admitted requests that have not ended."""

    def __init__(
        self,
        store: Store,
        calls: Callable[[], Sequence[Call]],
        name: str | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._calls = calls
        self._name = name or own_name()
        self._looking = Repeating(self._look, "live", pause_seconds)

    def running(self) -> None:
        """Start."""
        self._looking.start()

    async def done(self) -> None:
        """Stop."""
        await self._looking.stop()

    async def _look(self) -> None:
        try:
            if await self._store.is_watched():
                await self._store.tell(self._name, snapshot_of(self._calls(), datetime.now(UTC)))
        except StoreUnavailable:
            return  # Others tell that Redis is away.
