"""Tells security staff of requests: redacted records of them go to the inspector's feed, and never hold anybody up.

On a request's way nothing happens but a note that something has changed, and a look at bodies that may be shown. Some
times a second a task makes records of what has changed since; see flow_records.py and feed.py.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from weakref import WeakSet

import msgspec
from mitmproxy import http

from addons.call import Calls
from addons.endurance import Repeating
from addons.feed import Feeds
from addons.flow_records import Allowance, Draft, Noted, Tap, draft_of, finish, most_of, takes_bodies
from addons.held_requests import HeldRequests
from addons.meter import broke_off, status_of
from addons.presence import own_name
from addons.store import Store
from addons.words import STRANGERS
from shared import logs
from shared.flow_schema import FlowRecord, encode_record
from shared.inspection import Capture
from shared.models import UsageEvent

PAUSE_SECONDS = 0.1
# While an answer grows, it is told of no more often.
GROWTH_SECONDS = 1.0
# So many are noted from one turn to the next, and of these so many that were not let in: whoever has no token cannot
# quickly fill what Redis keeps.
MOST_NOTED = 10_000
MOST_STRANGERS = 10
# So much of bodies is kept of requests that have not been told of to their end; beyond, ends of bodies are not shown.
MOST_TAPPED_BYTES = 64 << 20
# Records that are made before others get a turn.
AT_ONCE = 16

_BESIDE = "_llm_proxy_noted"

log = logs.get("inspector")


class Watching:
    """What an answer streams through: the tap sees each chunk, and what was there before passes it on."""

    def __init__(self, tap: Tap, inner: object) -> None:
        self._tap = tap
        self._inner = inner if callable(inner) else None

    def __call__(self, chunk: bytes) -> object:
        """Pass on what is passed on without us."""
        self._tap.add(chunk)
        return chunk if self._inner is None else self._inner(chunk)


class Inspector:
    """Stands behind the rooms that decide and before the one that lets go of bodies. `cost` prices an ended call."""

    def __init__(
        self,
        calls: Calls,
        store: Store,
        feed: Feeds,
        cost: Callable[[UsageEvent], int | None],
        note_dropped: Callable[[str, int], None],
        is_on: bool = True,
        pause_seconds: float = PAUSE_SECONDS,
        worker: str | None = None,
        tapped_bytes: int = MOST_TAPPED_BYTES,
    ) -> None:
        self.calls = calls
        self._feed = feed
        self._cost = cost
        self._note_dropped = note_dropped
        self._is_on = is_on
        self._worker = worker or own_name()
        self._allowance = Allowance(tapped_bytes)
        self._due: list[Noted] = []
        self._strangers = 0
        self._streams: WeakSet[Noted] = WeakSet()
        self._held = HeldRequests(store)
        self._telling = Repeating(self.tell, "inspector", pause_seconds)

    # What happens to requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note a request, and watch a body that streams."""
        if not self._is_on:
            return
        noted = self._begin(flow)
        if noted is None:
            return
        flow.__dict__[_BESIDE] = noted
        if noted.has_bodies and flow.request.stream:
            noted.request_tap, noted.is_upload = Tap(most_of(noted.inspection), self._allowance), True
            flow.request.stream = Watching(noted.request_tap, flow.request.stream)  # type: ignore[assignment]
        self._note(noted)

    def request(self, flow: http.HTTPFlow) -> None:
        """Keep the body that has come, as far as it may be shown."""
        noted = _noted(flow)
        if noted is not None and noted.has_bodies:
            if not noted.is_upload and flow.request.raw_content:
                noted.request_tap = Tap(most_of(noted.inspection), self._allowance)
                noted.request_tap.add(flow.request.raw_content)
            self._note(noted)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Watch the answer."""
        noted = _noted(flow)
        if noted is None or flow.response is None:
            return
        noted.response, noted.status = flow.response, flow.response.status_code
        if noted.has_bodies and flow.response.stream:
            noted.response_tap = Tap(most_of(noted.inspection), self._allowance)
            flow.response.stream = Watching(noted.response_tap, flow.response.stream)  # type: ignore[assignment]
        self._note(noted)

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; a WebSocket has only begun."""
        if flow.websocket is None:
            self._end(flow, is_broken=False)

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off, or never came."""
        self._end(flow, is_broken=True)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The WebSocket is closed."""
        self._end(flow, broke_off(flow))

    def _begin(self, flow: http.HTTPFlow) -> Noted | None:
        call = self.calls.of(flow)
        inspection = call.project.inspection if call.project else STRANGERS
        if inspection.capture is Capture.OFF:
            return None
        noted = Noted(flow.request, flow.client_conn.peername, call, inspection)
        noted.has_bodies = call.caller is not None and takes_bodies(inspection, call.request_id)
        return noted

    def _end(self, flow: http.HTTPFlow, is_broken: bool) -> None:
        noted: Noted | None = flow.__dict__.pop(_BESIDE, None)
        if noted is not None:
            noted.response, noted.status = flow.response, status_of(noted.call, flow)
            noted.is_broken, noted.ended_ms = is_broken, round(noted.call.elapsed_ms(), 3)
            self._note(noted)

    def _note(self, noted: Noted) -> None:
        if noted.is_due:
            return
        is_stranger = noted.call.caller is None
        if len(self._due) >= MOST_NOTED or (is_stranger and self._strangers >= MOST_STRANGERS):
            self._note_dropped("busy", 1)
            if noted.ended_ms is not None:
                noted.let_go()
            return
        noted.is_due = True
        self._strangers += is_stranger
        self._due.append(noted)

    # What is told

    def running(self) -> None:
        """Start telling."""
        if self._is_on:
            self._feed.running()
            self._telling.start()

    async def done(self) -> None:
        """Stop, and tell the rest if that is quick."""
        await self._held.done()
        if self._is_on:
            await self._telling.stop()
            await self.tell()
            await self._feed.done()

    async def tell(self) -> None:
        """Make records of all that has changed."""
        self._note_growth()
        due, self._due, self._strangers = self._due, [], 0
        for at in range(0, len(due), AT_ONCE):
            drafts = [draft for noted in due[at : at + AT_ONCE] if (draft := self._draft(noted)) is not None]
            bodies = [draft for draft in drafts if draft.request is not None or draft.response is not None]
            finished = await asyncio.to_thread(self._finished, bodies) if bodies else {}
            for draft in drafts:
                self._publish(draft.noted, finished.get(draft.record.request_id, draft.record))
            await asyncio.sleep(0)
        self._feed.close()

    def _note_growth(self) -> None:
        now = time.monotonic()
        for noted in list(self._streams):
            has_grown = noted.call.chunks != noted.told_chunks
            if has_grown and not noted.is_due and now - noted.told_at >= GROWTH_SECONDS:
                self._note(noted)

    def _draft(self, noted: Noted) -> Draft | None:
        noted.is_due = False
        noted.told_at = time.monotonic()
        if noted.ended_ms is not None:
            self._streams.discard(noted)
        else:
            self._streams.add(noted)
        try:
            if self._feed.has_room(noted.call.caller is None):
                return draft_of(noted, self._worker, self._cost)
            self._note_dropped("full", 1)
        except Exception:  # One that cannot be told of does not keep the others from being told of.
            self._fault(noted.call.request_id)
        finally:
            if noted.ended_ms is not None:
                noted.let_go()
        return None

    def _finished(self, drafts: Iterable[Draft]) -> dict[str, FlowRecord]:
        """Return the records with their bodies, by id; in a thread, since this may take some time."""
        finished = {}
        for draft in drafts:
            try:
                finished[draft.record.request_id] = finish(draft)
            except Exception:  # Then it is told without.
                self._fault(draft.record.request_id)
        return finished

    def _fault(self, request_id: str) -> None:
        self._note_dropped("fault", 1)
        log.exception("flow_not_told", request_id=request_id)

    def _publish(self, noted: Noted, record: FlowRecord) -> None:
        is_stranger = noted.call.caller is None
        if self._feed.has_room(is_stranger):  # Bodies are large, and several may have come at once.
            self._feed.append(encode_record(record), is_stranger)
        else:
            self._note_dropped("full", 1)

    # Requests that are held

    def held(self, flow: http.HTTPFlow, rule_name: str, until: float) -> None:
        """Show a request that is held until then (in seconds since the epoch), with all of its body."""
        call, noted = self.calls.of(flow), _noted(flow)
        if noted is not None:
            noted.is_held = True
            self._note(noted)
        inspection = call.project.inspection if call.project else STRANGERS
        seen = Noted(flow.request, flow.client_conn.peername, call, inspection, is_held=True)
        record = draft_of(seen, self._worker, self._cost).record
        record = msgspec.structs.replace(record, rule=rule_name, held_until=until)
        self._held.show(call, record, flow.request.raw_content or b"", inspection)

    def released(self, flow: http.HTTPFlow) -> None:
        """Show it as one that is not held any more."""
        noted = _noted(flow)
        if noted is not None and noted.is_held:
            noted.is_held = False
            self._note(noted)
        self._held.forget(self.calls.of(flow).request_id)


def _noted(flow: http.HTTPFlow) -> Noted | None:
    noted: Noted | None = flow.__dict__.get(_BESIDE)
    return noted
