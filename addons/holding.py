"""Keeps requests from their provider until somebody decides about them, or their time is over.

A wait ends early when the request is cut, its token revoked, its client gone, its worker ended, or its route's time for
the whole request is over. The other time-outs of the route begin when the request goes out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mitmproxy import http
from mitmproxy.flow import Error

from addons import patience
from addons.call import Call
from addons.refusal import HOLD_EXPIRED, REQUEST_REFUSED, REQUEST_TOO_LARGE, SERVICE_UNAVAILABLE, TOO_MANY_HELD, Refused
from addons.store import StoreUnavailable
from shared import logs
from shared.redis_schema import Decided
from shared.rules_schema import LONGEST_HOLD_SECONDS, OnDeadline, Rule

# Headers that say something about the very bytes of a body.
_OF_BODY = ("content-encoding", "content-md5", "digest", "content-digest", "repr-digest")

log = logs.get("holding")


class Onlooker(Protocol):
    """Who shows held requests to those who decide. `until` is in seconds since the epoch."""

    def held(self, flow: http.HTTPFlow, rule_name: str, until: float) -> None:
        """A request is held from now on."""

    def released(self, flow: http.HTTPFlow) -> None:
        """It is no longer held, whatever comes of it."""


class Decisions(Protocol):
    """What a store knows of held requests; each may raise StoreUnavailable."""

    async def decision(self, request_id: str) -> Decided | None:
        """Return what has been decided about a request."""

    async def take_edit(self, request_id: str) -> bytes | None:
        """Return the body that replaces the request's own."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one worker holds at a time: so many requests, so many of one project, so many bytes of bodies."""

    count: int = 500
    of_project: int = 200
    size: int = 256 << 20


_BOUNDS = Bounds()


@dataclass(slots=True)
class Held:
    """A request that waits, and what has been decided about it."""

    call: Call
    size: int
    decided: Decided | None = None


class Holding:
    """Knows the requests that this worker holds.

    `reveal` puts what was hidden from the one who edits back into a text. `check` judges an edited body as any other.
    """

    def __init__(
        self,
        store: Decisions,
        onlooker: Onlooker,
        reveal: Callable[[str, Mapping[str, str]], str],
        check: Callable[[http.HTTPFlow], None],
        note_held: Callable[[int], None] = lambda _: None,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        self._store = store
        self._onlooker = onlooker
        self._reveal = reveal
        self._check = check
        self._note_held = note_held
        self._bounds = bounds
        self._held: dict[str, Held] = {}

    async def hold(self, flow: http.HTTPFlow, call: Call, rule: Rule) -> None:
        """Return when the request is to go on, as it is or with another body. Raises Refused.

        A request that was ended meanwhile gets an error, so that no room takes it for one that goes on.
        """
        size = len(flow.request.raw_content or b"")
        if not self._has_room(call.project_id, size):
            log.warning("too_many_held", project_id=call.project_id, rule=rule.name)
            raise Refused(TOO_MANY_HELD)
        held = Held(call, size)
        seconds = min(max(rule.hold_seconds, 0), LONGEST_HOLD_SECONDS)
        self._begin(flow, held, rule, seconds)
        try:
            is_over = await patience.wait(call, seconds)
            if is_over and held.decided is None:
                held.decided = await self._look_up(call.request_id, rule)
        finally:
            self._end(flow, held)
        if held.decided is not None:
            await self._follow(flow, call, held.decided)
        elif not is_over:
            flow.error = Error("ended while it was held")
        elif rule.on_deadline is not OnDeadline.RELEASE:
            raise Refused(HOLD_EXPIRED)

    def decided(self, decided: Decided) -> None:
        """Somebody has decided; the first decision counts, and those about requests of other workers are not ours."""
        held = self._held.get(decided.request_id)
        if held is not None and held.decided is None:
            held.decided = decided
            if held.call.attempts.waiter is not None:
                held.call.attempts.waiter.set()

    async def catch_up(self) -> None:
        """Look for decisions that were told while nobody listened. Raises StoreUnavailable."""
        for request_id in list(self._held):
            if (decided := await self._store.decision(request_id)) is not None:
                self.decided(decided)

    def _has_room(self, project_id: str, size: int) -> bool:
        of_project = sum(held.call.project_id == project_id for held in self._held.values())
        is_too_large = sum(held.size for held in self._held.values()) + size > self._bounds.size
        return len(self._held) < self._bounds.count and of_project < self._bounds.of_project and not is_too_large

    def _begin(self, flow: http.HTTPFlow, held: Held, rule: Rule, seconds: float) -> None:
        call, until = held.call, datetime.now(UTC) + timedelta(seconds=seconds)
        self._held[call.request_id] = held
        call.held_until = until
        self._note_held(len(self._held))
        log.info("request_held", request_id=call.request_id, token_id=call.token_id, rule=rule.name)
        self._onlooker.held(flow, rule.name, until.timestamp())

    def _end(self, flow: http.HTTPFlow, held: Held) -> None:
        del self._held[held.call.request_id]
        held.call.held_until = None
        self._note_held(len(self._held))
        self._onlooker.released(flow)

    async def _look_up(self, request_id: str, rule: Rule) -> Decided | None:
        try:
            return await self._store.decision(request_id)
        except StoreUnavailable:
            if rule.on_deadline is OnDeadline.RELEASE:  # It may have been refused.
                raise Refused(SERVICE_UNAVAILABLE) from None
            return None

    async def _follow(self, flow: http.HTTPFlow, call: Call, decided: Decided) -> None:
        log.info("hold_ended", request_id=call.request_id, verdict=decided.verdict, is_edited=decided.is_edited)
        if call.interruption is not None or call.ended_by_client:
            flow.error = Error("ended while it was held")
        elif decided.verdict == "refuse":
            raise Refused(REQUEST_REFUSED)
        elif decided.is_edited:
            await self._edit(flow, call)
            if call.interruption is not None or call.ended_by_client:
                flow.error = Error("ended while it was held")

    async def _edit(self, flow: http.HTTPFlow, call: Call) -> None:
        try:
            body = await self._store.take_edit(call.request_id)
        except StoreUnavailable:
            raise Refused(SERVICE_UNAVAILABLE) from None
        if body is None:
            log.error("edit_is_gone", request_id=call.request_id)
            raise Refused(HOLD_EXPIRED)  # What was to be changed is not sent as it was.
        self._replace(flow, call, self._revealed(body, call.hidden))
        self._check(flow)

    def _revealed(self, body: bytes, hidden: Mapping[str, str]) -> bytes:
        return self._reveal(body.decode("utf-8", "replace"), hidden).encode()

    def _replace(self, flow: http.HTTPFlow, call: Call, body: bytes) -> None:
        if call.route is not None and len(body) > call.route.max_body_bytes:
            raise Refused(REQUEST_TOO_LARGE)
        request = flow.request
        for name in _OF_BODY:
            request.headers.pop(name, None)
        request.raw_content = body
        if "transfer-encoding" not in request.headers:
            request.headers["content-length"] = str(len(body))
        call.request_bytes, call.is_edited = len(body), True
        call.model, call.is_stream = None, False
