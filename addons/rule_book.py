"""Follows the rules that the control plane publishes, and knows which of them are in force for a project.

Until they have been read for the first time nobody can say what they forbid. After that, the ones that are known stay
in force until others have been read that can all be used.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from addons import flow_filters
from addons.endurance import Repeating
from addons.flow_filters import Filter, FilterError
from addons.store import Store, StoreUnavailable
from shared import logs
from shared.redis_schema import ContractError
from shared.rules_schema import Action, Rule, RuleSet, decode_rules

# How long other rules may stay unnoticed by a worker that was not told of them, in seconds.
PAUSE_SECONDS = 3.0
# How long a request waits for the first rules of a worker that has just started.
FIRST_SECONDS = 2.0

log = logs.get("rule_book")


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its filter as it is applied."""

    rule: Rule
    filter: Filter


@dataclass(frozen=True, slots=True)
class Chapter:
    """The rules for one project, in the order in which they are asked. With one that redacts, it `hides`.

    To ask them all takes `body_steps` for each byte of a body at most, and `head_steps` for each of a head.
    """

    rules: tuple[CompiledRule, ...] = ()
    needs_body: bool = False
    hides: bool = False
    body_steps: int = 0
    head_steps: int = 0


def compiled(rules: Iterable[Rule]) -> list[CompiledRule]:
    """Compile rules. Raises FilterError."""
    return [CompiledRule(rule, flow_filters.parse(rule.filter)) for rule in rules]


def chapters(rules: Sequence[CompiledRule]) -> Mapping[str, Chapter]:
    """Return what is in force for each project that has rules of its own, and under "" for all others."""
    projects = {each.rule.project_id for each in rules} | {""}
    return {
        project: _chapter([each for each in rules if each.rule.project_id in ("", project)]) for project in projects
    }


def _chapter(rules: Sequence[CompiledRule]) -> Chapter:
    # What is held has to be whole, since it may be changed.
    needs_body = any(each.filter.needs_body or each.rule.action is Action.HOLD for each in rules)
    return Chapter(
        tuple(rules),
        needs_body,
        any(each.rule.action is Action.REDACT for each in rules),
        sum(each.filter.body_steps for each in rules),
        sum(each.filter.head_steps for each in rules),
    )


class RuleBook:
    """One task for the life of the worker. `note_rejected` counts what was published and could not be used."""

    def __init__(
        self, store: Store, note_rejected: Callable[[], None] = lambda: None, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._store = store
        self._note_rejected = note_rejected
        self._pause_seconds = pause_seconds
        self._published: bytes | None = None
        self._chapters: Mapping[str, Chapter] | None = None
        self._news = asyncio.Event()
        self._known = asyncio.Event()
        self._following = Repeating(self._follow, "rule_book", 0.0)

    def running(self) -> None:
        """Start following."""
        self._following.start()

    async def done(self) -> None:
        """Stop following."""
        await self._following.stop()

    def look(self) -> None:
        """Read the rules anew, soon: others may be in force."""
        self._news.set()

    def of(self, project_id: str) -> Chapter | None:
        """Return what is in force for a project; None if that is not known yet."""
        known = self._chapters
        return None if known is None else known.get(project_id) or known[""]

    async def wait_for(self, project_id: str, seconds: float = FIRST_SECONDS) -> Chapter | None:
        """Return what is in force for a project as soon as it is known; None if it is not in time."""
        self.look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._known.wait()
        return self.of(project_id)

    async def refresh(self) -> None:
        """Take over what is published now. Raises StoreUnavailable."""
        published = await self._store.rules()
        if published is None or published == self._published:
            return
        try:
            rules = decode_rules(published) if published else RuleSet()
            if published or self._chapters is None:  # A Redis that has lost them changes nothing.
                self._chapters = chapters(compiled(rules.rules))
                log.info("rules_in_force", version=rules.version, count=len(rules.rules))
        except (ContractError, FilterError) as error:
            self._note_rejected()
            log.error("rules_not_usable", reason=str(error))
        self._published = published
        if self._chapters is not None:
            self._known.set()

    async def _follow(self) -> None:
        self._news.clear()
        try:
            await self.refresh()
        except StoreUnavailable as error:
            log.warning("rules_not_refreshed", reason=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_seconds):
                await self._news.wait()
