"""Asks rules about a request, one after the other, until one decides. Pure but for who does it: see `Judges`.

A filter that looks at a body which cannot be read fits, unless its rule allows: nobody gets past a rule by sending what
cannot be looked at, or what takes too long.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakValueDictionary

from addons.filter_subject import Subject
from addons.rule_book import Chapter, CompiledRule
from shared.rules_schema import Action, Rule

MOST_TAGS = 16
LONGEST_TAG = 64
# Reading a larger body may take longer than others on the same worker should wait, and so may more steps of searching:
# these are 10 ms at the slowest (see addons/filter_patterns.py), and much less with most patterns.
AT_ONCE_BYTES = 32 << 10
AT_ONCE_STEPS = 2_000_000
# After this time, in seconds, a body counts as one that cannot be read.
SECONDS = 3.0
_THREADS = 4
_DECIDING = (Action.ALLOW, Action.HOLD, Action.DENY)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules make of a request: the one that decided, if any, and what others have added before."""

    decided: Rule | None
    tags: tuple[str, ...]
    is_hidden: bool
    hits: tuple[Rule, ...]


def judge(rules: Sequence[CompiledRule], subject: Subject, now_ms: int) -> Verdict:
    """Ask the rules that have not expired, in their order; later ones see the tags that earlier ones gave."""
    hits: list[Rule] = []
    for each in rules:
        rule = each.rule
        if 0 < rule.expires_at_ms <= now_ms or not _fits(each, subject):
            continue
        hits.append(rule)
        if rule.action in _DECIDING:
            break
        if rule.action is Action.TAG:
            _add(subject.tags, (rule.tag or rule.name)[:LONGEST_TAG])
    decided = hits[-1] if hits and hits[-1].action in _DECIDING else None
    is_hidden = any(rule.action is Action.REDACT for rule in hits)
    return Verdict(decided, tuple(subject.tags), is_hidden, tuple(hits))


def _fits(each: CompiledRule, subject: Subject) -> bool:
    found = each.filter.fits(subject)
    return each.rule.action is not Action.ALLOW if found is None else found


def _add(tags: list[str], tag: str) -> None:
    if tag not in tags and len(tags) < MOST_TAGS:
        tags.append(tag)


def is_quick(chapter: Chapter, subject: Subject) -> bool:
    """Tell whether others can wait until a request has been judged."""
    if subject.body is not None and len(subject.body) > AT_ONCE_BYTES and chapter.needs_body:
        return False
    steps = chapter.body_steps and chapter.body_steps * subject.body_bytes
    steps += chapter.head_steps and chapter.head_steps * subject.head_bytes
    return steps <= AT_ONCE_STEPS


class Judges:
    """Asks beside the event loop about requests that take long, and not for longer than `seconds`.

    There is one thread for a project at a time, so that its rules keep only its own requests waiting. A search that has
    begun cannot be ended, and holds the thread until it is over.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_THREADS, "judge")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def judge(self, chapter: Chapter, subject: Subject, now_ms: int, project_id: str) -> Verdict:
        """As the function does."""
        subject.until = time.monotonic() + self._seconds
        try:
            async with asyncio.timeout(self._seconds):
                return await self._judge_in_turn(chapter, subject, now_ms, project_id)
        except TimeoutError:
            unread = subject.unread()
            if not is_quick(chapter, unread):
                unread.until = 0.0
            return judge(chapter.rules, unread, now_ms)

    async def _judge_in_turn(self, chapter: Chapter, subject: Subject, now_ms: int, project_id: str) -> Verdict:
        turn = self._turns.setdefault(project_id, asyncio.Lock())
        await turn.acquire()
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, judge, chapter.rules, subject, now_ms)
        except RuntimeError:  # The worker ends.
            turn.release()
            raise
        asked.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(asked)

    def done(self) -> None:
        """Wait for nobody who is still searching."""
        self._threads.shutdown(wait=False, cancel_futures=True)
