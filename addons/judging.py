"""Asks rules about a request, one after the other, until one decides. Pure but for who does it: see `Judges`.

A filter that looks at a body which cannot be read fits, unless its rule allows: nobody gets past a rule by sending what
cannot be looked at.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from addons.filter_subject import Subject
from addons.rule_book import CompiledRule
from shared.rules_schema import Action, Rule

MOST_TAGS = 16
LONGEST_TAG = 64
# Searching a larger body may take longer than others on the same worker should wait.
AT_ONCE_BYTES = 32 << 10
# After this time, in seconds, a body counts as one that cannot be read.
SECONDS = 3.0
_THREADS = 2
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


class Judges:
    """Asks about requests with large bodies beside the event loop, and not for longer than `seconds`."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_THREADS, "judge")

    async def judge(self, rules: Sequence[CompiledRule], subject: Subject, now_ms: int) -> Verdict:
        """As the function does."""
        asked = asyncio.get_running_loop().run_in_executor(self._threads, judge, rules, subject, now_ms)
        try:
            async with asyncio.timeout(self._seconds):
                return await asked
        except TimeoutError:
            return judge(rules, subject.unread(), now_ms)

    def done(self) -> None:
        """Wait for nobody who is still searching."""
        self._threads.shutdown(wait=False, cancel_futures=True)
