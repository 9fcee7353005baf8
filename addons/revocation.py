"""Cuts running requests, silent, streaming or waiting: those of a revoked token or project, or one by its id."""

import time
from collections.abc import Callable, Iterable

from mitmproxy import http

from addons.call import Call, Calls
from addons.ending import Cause, Interruption
from addons.interrupts import Interrupts
from addons.refusal import PROJECT_INACTIVE, REQUEST_CUT, TOKEN_INACTIVE
from shared import logs
from shared.redis_schema import Revoked

# A request that was admitted just before its token was revoked may be heard of just after.
REMEMBER_SECONDS = 10.0
_REFUSALS = {"token": TOKEN_INACTIVE, "project": PROJECT_INACTIVE, "request": REQUEST_CUT}

log = logs.get("revocation")


class Revocation:
    """Knows the admitted requests of this worker that have not ended. `note_cut` counts cuts by their code."""

    def __init__(
        self,
        calls: Calls,
        interrupts: Interrupts,
        note_cut: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.calls = calls
        self._interrupts = interrupts
        self._note_cut = note_cut
        self._clock = clock
        self._live: dict[str, Call] = {}
        self._recent: dict[tuple[str, str], float] = {}

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Remember an admitted request, or cut it if its token was revoked in this very moment."""
        call = self.calls.of(flow)
        if call.caller is None or flow.response is not None:
            return
        self._live[call.request_id] = call
        if self._recent:
            self._cut_if_recent(call)

    def response(self, flow: http.HTTPFlow) -> None:
        """The request has ended; a WebSocket has only begun."""
        if flow.websocket is None:
            self._live.pop(self.calls.of(flow).request_id, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """The request broke off."""
        self._live.pop(self.calls.of(flow).request_id, None)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The WebSocket has ended."""
        self._live.pop(self.calls.of(flow).request_id, None)

    def revoked(self, message: Revoked) -> None:
        """Cut every running request of a token or project."""
        self._remember(message.kind, message.id)
        for call in list(self._live.values()):
            if (message.kind, message.id) in _owners(call):
                self._cut(call, message.kind)

    def cut(self, request_id: str) -> None:
        """Cut one request, if it runs here."""
        self._remember("request", request_id)
        if call := self._live.get(request_id):
            self._cut(call, "request")

    def live(self) -> list[Call]:
        """Return the admitted requests that have not ended."""
        return list(self._live.values())

    def confirm(self, calls: Iterable[Call], are_active: Iterable[tuple[bool, bool]]) -> None:
        """Cut those requests whose token or project turns out not to be active; for when messages were missed."""
        for call, (is_token_active, is_project_active) in zip(calls, are_active, strict=True):
            if not is_token_active or not is_project_active:
                self._cut(call, "token" if not is_token_active else "project")

    def _remember(self, kind: str, name: str) -> None:
        now = self._clock()
        self._recent = {owner: until for owner, until in self._recent.items() if until > now}
        self._recent[kind, name] = now + REMEMBER_SECONDS

    def _cut_if_recent(self, call: Call) -> None:
        for kind, name in (*_owners(call), ("request", call.request_id)):
            if self._recent.get((kind, name), 0.0) > self._clock():
                self._cut(call, kind)

    def _cut(self, call: Call, kind: str) -> None:
        if call.interruption is not None:
            return
        refusal = _REFUSALS[kind]
        log.warning("request_cut", request_id=call.request_id, token_id=call.token_id, code=refusal.code)
        self._note_cut(refusal.code)
        self._interrupts.interrupt(call, Interruption(Cause.CUT, refusal))


def _owners(call: Call) -> list[tuple[str, str]]:
    return [("token", call.token_id), ("project", call.caller.project.id)] if call.caller else []
