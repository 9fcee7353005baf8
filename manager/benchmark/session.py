"""One run from beginning to end: who is asked can be reached, Ctrl-C ends it and keeps what was seen."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from manager.benchmark import results, workers
from manager.benchmark.plan import Plan
from manager.benchmark.results import Document
from manager.benchmark.sender import STATUS

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class NobodyThere(Exception):
    """A target cannot be reached; the message says which."""


@dataclass(frozen=True)
class Session:
    """What came of a run: its document, whether somebody ended it, and what failed in the load itself, or ""."""

    document: Document
    is_interrupted: bool
    fault: str


def hold(plan: Plan, watch: workers.Watch) -> Session:
    """Carry out a plan. Raises NobodyThere before anything is asked."""
    for target in plan.targets:
        try:
            socket.create_connection((target.host, target.port), plan.timeouts.connect_s).close()
        except OSError:
            raise NobodyThere(f"{target.name} cannot be reached at {target.url}.") from None
    began, made = datetime.now(UTC), workers.Run()
    is_interrupted, fault = asyncio.run(_hold(plan, made, watch))
    return Session(results.document(plan, made, began), is_interrupted, fault)


async def _hold(plan: Plan, made: workers.Run, watch: workers.Watch) -> tuple[bool, str]:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        await workers.run(plan, made, stop, watch)
    except workers.LoadError as error:
        return stop.is_set(), str(error)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return stop.is_set(), ""


def unanswered(document: Document) -> tuple[str, bool] | None:
    """Return of a target that gave no good answer at all what it did instead, and whether it gave none whatever."""
    for target in dict.fromkeys(each.target for each in document.results):
        seen = [each.tally for each in document.results if each.target == target]
        kinds = {kind for tally in seen for kind in tally.errors}
        if kinds and not any(tally.latency for tally in seen):
            is_away = not any(kind.startswith(STATUS) for kind in kinds)
            return f"{target} gave no good answer: {', '.join(sorted(kinds))}.", is_away
    return None
