"""Tells whoever inspects flows what goes on, by a bounded stream in Redis: off the path of requests, and dropped first.

What is noted on a request's way is that there is something to tell. A task makes records of that, ten times a second,
redacts them and hands them over. If Redis is slow or away, or there is too much, records are dropped and counted.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Protocol

import msgspec
from mitmproxy import http

from addons.call import Call, Calls
from addons.capture import Capture
from addons.endurance import Repeating, endure
from addons.flow_telling import Seen, captures_bodies, record_of
from addons.hiding import hide
from addons.presence import own_name
from addons.store import StoreUnavailable
from shared import logs
from shared.flow_schema import MOST_EDITED_BYTES, FlowRecord, Message, encode_batch, encode_record
from shared.inspection import Capture as Captured
from shared.inspection import Inspection
from shared.models import UsageEvent

PAUSE_SECONDS = 0.1
# A stream's growth is told so often, in seconds.
GROWTH_SECONDS = 1.0
# So many flows have something to tell at a time; of those of nobody, who may come in floods, a part.
MOST_NOTED, MOST_OF_NOBODY = 20_000, 2_000
MOST_BATCH_BYTES = 256 << 10
# What waits for Redis, in bytes; and how long it is left alone after it did not answer.
MOST_WAITING_BYTES = 16 << 20
REST_SECONDS = 1.0
# After so long at a stretch, others are let on.
STRETCH_SECONDS = 0.01
_SLACK_MS = 5_000

log = logs.get("inspector")


class Sink(Protocol):
    """Where records go; each may raise StoreUnavailable."""

    async def feed(self, batch: bytes, most_bytes: int) -> None:
        """Append an entry to the feed."""

    async def hold_record(self, request_id: str, record: bytes, milliseconds: int) -> None:
        """Keep what is known of a held request for so long."""

    async def release_record(self, request_id: str) -> None:
        """Forget that."""


class Inspector:
    """The flows of one worker. `note_told` and `note_dropped` count records, the latter by why they were dropped."""

    def __init__(
        self,
        calls: Calls,
        sink: Sink,
        cost: Callable[[UsageEvent], int | None],
        feed_bytes: int,
        note_told: Callable[[int], None],
        note_dropped: Callable[[str, int], None],
        is_on: bool = True,
        name: str | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.calls = calls
        self._sink = sink
        self._cost = cost
        self._feed_bytes = feed_bytes
        self._note_told = note_told
        self._note_dropped = note_dropped
        self._is_on = is_on
        self._name = name or own_name()
        self._seen: dict[str, Seen] = {}
        self._noted: dict[str, Seen] = {}
        self._of_nobody = 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._rests_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling = Repeating(self.tell, "inspector", pause_seconds)

    def running(self) -> None:
        """Start telling."""
        self._telling.start()

    async def done(self) -> None:
        """Tell what is left, if that can be done at once, and stop."""
        await self._telling.stop()
        await endure(self.tell(), "inspector", 0)

    # What happens to a request

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request has come in, perhaps with a body that streams."""
        call = self.calls.of(flow)
        if flow.response is None and call.caller is not None and (seen := self._first_seen(flow, call)):
            if seen.has_bodies and flow.request.stream:
                seen.asked = Capture(seen.inspection.max_body_bytes + 1)
                flow.request.stream = seen.asked.around(flow.request.stream)
            self._note(seen)

    def request(self, flow: http.HTTPFlow) -> None:
        """All of it has come."""
        if seen := self._seen.get(self.calls.of(flow).request_id):
            seen.has_request = True
            self._note(seen)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """An answer begins."""
        seen = self._seen.get(self.calls.of(flow).request_id)
        if seen is not None and flow.response is not None:
            if seen.has_bodies and flow.response.stream:
                seen.answered = Capture(seen.inspection.max_body_bytes + 1)
                flow.response.stream = seen.answered.around(flow.response.stream)
            self._note(seen)

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; a WebSocket has only begun."""
        if flow.websocket is None:
            self._end(flow, is_broken=False)

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off, or never came."""
        self._end(flow, is_broken=True)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket has ended."""
        self._end(flow, is_broken=False)

    def held(self, flow: http.HTTPFlow, rule_name: str, until: float) -> None:
        """A request is held: show it, with its whole body, to those who decide."""
        call = self.calls.of(flow)
        if (seen := self._seen.get(call.request_id)) is not None:
            seen.has_request = True
            self._note(seen)
        self._begin(self._show_held(Seen(flow, call, _inspection_of(call)), until))

    def released(self, flow: http.HTTPFlow) -> None:
        """A request is no longer held."""
        call = self.calls.of(flow)
        if (seen := self._seen.get(call.request_id)) is not None:
            seen.has_told_request = False  # It may have been edited.
            self._note(seen)
        self._begin(self._forget_held(call.request_id))

    def _first_seen(self, flow: http.HTTPFlow, call: Call) -> Seen | None:
        inspection = _inspection_of(call)
        if not self._is_on or inspection.capture is Captured.OFF:
            return None
        seen = Seen(flow, call, inspection, captures_bodies(call))
        self._seen[call.request_id] = seen
        return seen

    def _end(self, flow: http.HTTPFlow, is_broken: bool) -> None:
        call = self.calls.of(flow)
        seen = self._seen.pop(call.request_id, None)
        if seen is None:
            if call.caller is not None or not self._is_on or self._of_nobody >= MOST_OF_NOBODY:
                if call.caller is None and self._is_on:
                    self._note_dropped("flood", 1)
                return
            self._of_nobody += 1
            seen = Seen(flow, call)
        seen.is_ended, seen.is_broken, seen.has_request = True, is_broken, True
        self._note(seen)

    def _note(self, seen: Seen) -> None:
        if len(self._noted) < MOST_NOTED or seen.call.request_id in self._noted:
            self._noted[seen.call.request_id] = seen
        else:
            self._note_dropped("crowded", 1)

    # Telling

    async def tell(self) -> None:
        """Tell what has been noted since the last time."""
        noted, self._noted, self._of_nobody = self._noted, {}, 0
        now = time.monotonic()
        for seen in self._seen.values():
            grows = seen.call.chunks != seen.told_chunks and now - seen.told_at >= GROWTH_SECONDS
            if grows and seen.call.request_id not in noted and seen.call.head_sent:
                noted[seen.call.request_id] = seen
        if noted:
            await self._make_batches(list(noted.values()))
        if self._waiting and time.monotonic() >= self._rests_until:
            await self._hand_over()

    async def _make_batches(self, noted: list[Seen]) -> None:
        records: list[FlowRecord] = []
        size, began = 0, time.monotonic()
        for seen in noted:
            seen.told_at, seen.told_chunks = began, seen.call.chunks
            try:
                record = record_of(seen, self._name, self._cost)
            except Exception:  # Whatever is wrong with one flow, the others are told of.
                log.exception("flow_not_told", request_id=seen.call.request_id)
                self._note_dropped("fault", 1)
                continue
            records.append(record)
            size += _size(record)
            if size >= MOST_BATCH_BYTES:
                self._add(records)
                records, size = [], 0
            if time.monotonic() - began > STRETCH_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()
        if records:
            self._add(records)

    def _add(self, records: list[FlowRecord]) -> None:
        batch = encode_batch(records)
        self._waiting.append((batch, len(records)))
        self._waiting_bytes += len(batch)
        while self._waiting_bytes > MOST_WAITING_BYTES:
            self._note_dropped("slow", self._drop())

    def _drop(self) -> int:
        batch, count = self._waiting.popleft()
        self._waiting_bytes -= len(batch)
        return count

    async def _hand_over(self) -> None:
        while self._waiting:
            try:
                await self._sink.feed(self._waiting[0][0], self._feed_bytes)
            except StoreUnavailable:
                # Whether it was taken is not known; that it is told twice would do no harm, but it may be too much.
                self._note_dropped("redis", self._drop())
                self._rests_until = time.monotonic() + REST_SECONDS
                return
            self._note_told(self._drop())

    # Held requests

    async def _show_held(self, seen: Seen, until: float) -> None:
        seen.has_request = False
        record, (body, note) = record_of(seen, self._name, self._cost), await self._editable(seen)
        request = Message(record.request.headers, len(seen.flow.request.raw_content or b""), body, note=note)
        milliseconds = max(0, round((until - time.time()) * 1000)) + _SLACK_MS
        told = encode_record(_replaced(record, request))
        try:
            await self._sink.hold_record(seen.call.request_id, told, milliseconds)
        except StoreUnavailable as error:
            log.warning("held_request_not_shown", request_id=seen.call.request_id, reason=str(error))

    async def _editable(self, seen: Seen) -> tuple[bytes | None, str]:
        """Return the whole body of a request as it may be shown and edited, or None and why."""
        content = seen.flow.request.raw_content or b""
        if len(content) > MOST_EDITED_BYTES:
            return None, "too large to be shown whole"
        if seen.call.is_hidden:
            return None, "withheld by a rule"
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return None, "not text"
        if seen.flow.request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return None, "its content coding is not undone here"
        # It may be long, and its patterns many: others are not to wait for that.
        hiding = await asyncio.to_thread(hide, text, seen.inspection)
        seen.call.hidden = hiding.originals
        return hiding.text.encode(), ""

    async def _forget_held(self, request_id: str) -> None:
        try:
            await self._sink.release_record(request_id)
        except StoreUnavailable:
            return  # It expires.

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(endure(work, "inspector", 0))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _inspection_of(call: Call) -> Inspection:
    return call.caller.project.inspection if call.caller else Inspection()


def _size(record: FlowRecord) -> int:
    answer = record.response.body if record.response else None
    return 512 + len(record.request.body or b"") + len(answer or b"")


def _replaced(record: FlowRecord, request: Message) -> FlowRecord:
    return msgspec.structs.replace(record, request=request)
