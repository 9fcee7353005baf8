"""One load process, `python -m manager.benchmark.worker`: does the legs it is told to, and says what it sees."""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
import time
from time import monotonic_ns

import uvloop

from manager.benchmark import request, words
from manager.benchmark.arrivals import Part
from manager.benchmark.legs import Leg
from manager.benchmark.load import ClosedLoop, OpenLoop
from manager.benchmark.plan import Plan, Target
from manager.benchmark.sender import Sender
from manager.benchmark.tally import Tally

# How often it says what it has seen.
TELL_S = 0.5


def tls_of(plan: Plan, target: Target) -> ssl.SSLContext | None:
    """Return how a target's certificate is verified, None if it does not speak TLS. Raises OSError for a bad file."""
    import certifi

    return ssl.create_default_context(cafile=plan.ca_file or certifi.where()) if target.is_tls else None


class Worker:
    """Runs legs, one after the other; its connections stay open from one to the next."""

    def __init__(self, job: words.Job) -> None:
        self._plan, self._number = job.plan, job.number
        self._senders = [self._sender(target) for target in job.plan.targets]
        self._loop: ClosedLoop | OpenLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def _sender(self, target: Target) -> Sender:
        plan = self._plan
        make = request.maker(plan, target, self._number, plan.processes)
        return Sender(target, make, plan.timeouts, plan.is_kept, plan.expected, tls_of(plan, target))

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Do what is said until nothing more can come."""
        while text := await commands.readline():
            command = words.command(text)
            if command.leg is None:
                self.stop()
            else:
                self._task = asyncio.create_task(self._run(*self._prepared(command, command.leg)))
        self.stop()
        if self._task is not None:
            await self._task
        for sender in self._senders:
            sender.close()

    def stop(self) -> None:
        """End the leg that runs."""
        if self._loop is not None:
            self._loop.stop()

    def _prepared(self, command: words.Command, leg: Leg) -> tuple[Sender, ClosedLoop | OpenLoop]:
        """Make a leg ready; from now on it can be stopped."""
        sender = self._senders[leg.target]
        sender.interval_ns = round(self._plan.interval_s * 1e9)
        sender.begins_ns = command.begins_ns - command.before_ns
        part = Part(self._number, leg.workers(self._plan.processes))
        self._loop = (
            ClosedLoop(sender, leg.load, part, command.begins_ns)
            if leg.load.rate is None
            else OpenLoop(sender, leg.load, part, command.begins_ns, self._plan.timeouts.total_s)
        )
        return sender, self._loop

    async def _run(self, sender: Sender, loop: ClosedLoop | OpenLoop) -> None:
        used, began = time.process_time_ns(), monotonic_ns()
        running = asyncio.create_task(loop.run())
        while not running.done():
            await asyncio.wait({running}, timeout=TELL_S)
            self._tell(sender)
        self._loop = None
        busy = (time.process_time_ns() - used) / max(1, monotonic_ns() - began)
        _say(words.Word(is_end=True, window_ns=running.result(), busy=busy))

    def _tell(self, sender: Sender) -> None:
        seen, sender.tally = sender.tally, Tally()
        _say(words.Word(tally=seen.as_dict()))


def _say(word: words.Word) -> None:
    sys.stdout.buffer.write(words.line(word))
    sys.stdout.buffer.flush()


async def _serve() -> None:
    commands = asyncio.StreamReader(limit=words.LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    if not (first := await commands.readline()):
        return
    worker = Worker(words.job(first))
    gc.freeze()
    _say(words.Word())
    await worker.run(commands)


def main() -> None:
    """Serve until standard input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
