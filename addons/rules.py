"""Applies the operators' rules to each admitted request, before any of it goes to the provider.

They are asked when all of a request has come. Where none of them needs the body, one that streams is not kept: then
they are asked at its head. What a rule of a project may have to look at, or to hold, is buffered.
"""

import time
from collections.abc import Awaitable, Callable

from mitmproxy import http

from addons.call import Call, Calls
from addons.filter_subject import Subject
from addons.holding import Holding
from addons.judging import Judges, Verdict, is_quick, judge
from addons.refusal import REQUEST_DENIED, SERVICE_UNAVAILABLE, Refused, fail_closed
from addons.rule_book import Chapter, RuleBook
from addons.rule_subject import subject_of
from shared import logs
from shared.rules_schema import Action

# Counts a rule that fitted, by its action and its name.
NoteHit = Callable[[str, str], None]

log = logs.get("rules")


class Rules:
    """Stands behind the rooms that read a request for the first time, and before all that judge or charge it."""

    def __init__(self, calls: Calls, book: RuleBook, holding: Holding, note_hit: NoteHit) -> None:
        self.calls = calls
        self._book = book
        self._holding = holding
        self._note_hit = note_hit
        self._judges = Judges()

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Keep bodies from being streamed that a rule may need; ask about what streams all the same."""
        call = self.calls.of(flow)
        if call.caller is None:
            return None
        chapter = self._book.of(call.project_id)
        return self._begin(flow, call, chapter) if chapter is not None else self._begin_later(flow, call)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Ask about a request that has come completely."""
        call = self.calls.of(flow)
        if call.caller is None or call.is_judged:
            return None
        chapter = self._book.of(call.project_id)
        if chapter is None:
            raise Refused(SERVICE_UNAVAILABLE)
        return self._ask(flow, call, chapter)

    def response(self, flow: http.HTTPFlow) -> None:
        """Hide what was refused before the rules could be asked, if one of them hides anything."""
        call = self.calls.of(flow)
        if not call.is_judged:
            chapter = self._book.of(call.project_id)
            call.is_hidden = call.is_hidden or chapter is None or chapter.hides

    error = response

    def done(self) -> None:
        """Stop searching."""
        self._judges.done()

    async def _begin_later(self, flow: http.HTTPFlow, call: Call) -> None:
        chapter = await self._book.wait_for(call.project_id)
        if chapter is None:
            raise Refused(SERVICE_UNAVAILABLE)
        if (rest := self._begin(flow, call, chapter)) is not None:
            await rest

    def _begin(self, flow: http.HTTPFlow, call: Call, chapter: Chapter) -> Awaitable[None] | None:
        if chapter.needs_body:
            flow.request.stream = False
        return self._ask(flow, call, chapter) if flow.request.stream else None

    def _ask(self, flow: http.HTTPFlow, call: Call, chapter: Chapter) -> Awaitable[None] | None:
        if not chapter.rules:
            call.is_judged = True
            return None
        subject = subject_of(flow, call)
        if not is_quick(chapter, subject):
            return self._ask_apart(flow, call, chapter, subject)
        return self._apply(flow, call, judge(chapter.rules, subject, _now_ms()))

    async def _ask_apart(self, flow: http.HTTPFlow, call: Call, chapter: Chapter, subject: Subject) -> None:
        verdict = await self._judges.judge(chapter, subject, _now_ms(), call.project_id)
        if (rest := self._apply(flow, call, verdict)) is not None:
            await rest

    def _apply(self, flow: http.HTTPFlow, call: Call, verdict: Verdict) -> Awaitable[None] | None:
        call.is_judged = True
        call.tags, call.is_hidden = list(verdict.tags), call.is_hidden or verdict.is_hidden
        for hit in verdict.hits:
            self._note_hit(hit.action.value, hit.name)
        rule = verdict.decided
        if rule is None:
            return None
        call.rule = rule.name
        if rule.action is Action.HOLD:
            return self._holding.hold(flow, call, rule)
        if rule.action is Action.DENY:
            log.warning("request_denied", request_id=call.request_id, token_id=call.token_id, rule=rule.name)
            flow.request.stream = False  # mitmproxy cannot answer and stream a request.
            raise Refused(REQUEST_DENIED)
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
