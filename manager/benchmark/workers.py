"""Starts the load processes, leads them through the legs of a plan together, and adds up what they see."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import cast

from manager.benchmark import words
from manager.benchmark.legs import Leg, legs
from manager.benchmark.plan import Plan
from manager.benchmark.tally import Tally

# So long after it was told a leg begins, for all processes at the same time.
_NOTICE_NS = 30_000_000
# So long a process may take to end after it was told to.
_PATIENCE_S = 5.0


class LoadError(Exception):
    """A load process has failed."""


@dataclass
class Seen:
    """Of one target in one step: counts, for how many ns load was made, the busiest process' share of its core."""

    tally: Tally = field(default_factory=Tally)
    window_ns: int = 0
    busy: float = 0.0


@dataclass
class Run:
    """All that a run has seen so far, by numbers of step and target; `is_whole` unless it was ended before its end."""

    seen: dict[tuple[int, int], Seen] = field(default_factory=dict)
    is_whole: bool = False


type Watch = Callable[[Leg, int, Seen], None]


async def run(plan: Plan, made: Run, stop: asyncio.Event, watch: Watch = lambda leg, begins_ns, seen: None) -> None:
    """Carry out a plan, into `made`; `watch` gets a leg, when it began, and what is seen of its target and step so far.

    `stop` ends it: what has been seen until then stays. Raises LoadError.
    """
    workers: list[_Worker] = []
    try:
        for _ in range(plan.processes):
            workers.append(await _Worker.start())
        await asyncio.gather(*(worker.prepare(plan, number) for number, worker in enumerate(workers)))
        for leg in legs(plan):
            if stop.is_set():
                return
            await _together(workers[: leg.workers(plan.processes)], leg, made, stop, watch)
        made.is_whole = not stop.is_set()
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


async def _together(workers: Sequence[_Worker], leg: Leg, made: Run, stop: asyncio.Event, watch: Watch) -> None:
    """Let processes do one leg. One that was stopped counts with the time it had."""
    seen = Seen() if leg.is_warm_up else made.seen.setdefault((leg.step, leg.target), Seen())
    begins = monotonic_ns() + _NOTICE_NS
    before = seen.window_ns

    def tell(word: words.Word) -> None:
        if word.tally is not None:
            seen.tally.merge(Tally.from_dict(word.tally))
        seen.window_ns = max(seen.window_ns, before + word.window_ns)
        seen.busy = max(seen.busy, word.busy)
        watch(leg, begins, seen)

    command = words.Command(leg, begins, before)
    stopping = asyncio.create_task(_stopped(stop, workers))
    try:
        await asyncio.gather(*(worker.run(command, tell) for worker in workers))
    finally:
        stopping.cancel()


async def _stopped(stop: asyncio.Event, workers: Sequence[_Worker]) -> None:
    await stop.wait()
    for worker in workers:
        worker.say(words.Command(None))
    await asyncio.sleep(_PATIENCE_S)
    for worker in workers:
        worker.kill()


class _Worker:
    """One process, and the pipes to and from it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._input, self._output = (
            cast(asyncio.StreamWriter, process.stdin),
            cast(asyncio.StreamReader, process.stdout),
        )

    @classmethod
    async def start(cls) -> _Worker:
        """Start a process. In a session of its own, Ctrl-C does not reach it."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "manager.benchmark.worker"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, start_new_session=True, limit=words.LONGEST
        )
        return cls(process)

    async def prepare(self, plan: Plan, number: int) -> None:
        """Give it its job and wait until it is ready. Raises LoadError."""
        self.say(words.Job(plan, number))
        await self._hear()

    def say(self, said: words.Job | words.Command) -> None:
        """Say something to it."""
        self._input.write(words.line(said))

    async def run(self, command: words.Command, tell: Callable[[words.Word], None]) -> None:
        """Let it do a leg. Raises LoadError."""
        self.say(command)
        is_end = False
        while not is_end:
            word = await self._hear()
            tell(word)
            is_end = word.is_end

    async def end(self) -> None:
        """End it."""
        self._input.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._process.wait()
        self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """End it whatever it does, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()

    async def _hear(self) -> words.Word:
        text = await self._output.readline()
        if not text:
            raise LoadError("A load process has ended unexpectedly.")
        return words.word(text)
