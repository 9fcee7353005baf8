"""Rules of one load process, here without a process around it: it does as it is told, line by line."""

import asyncio
import json
from time import monotonic_ns
from typing import Any

import pytest

from manager.benchmark import words
from manager.benchmark.legs import Leg
from manager.benchmark.plan import Plan, Step, Target
from manager.benchmark.worker import Worker
from tests.manager.benchmark.server import Say, Server, serving

LONG = Leg(0, 0, Step((2, 2), seconds=3600))


class Told:
    """A process, what is said to it, and what it says."""

    def __init__(self, server: Server, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture
        self._commands = asyncio.StreamReader()
        plan = Plan((Target("a", server.url),), (LONG.load,), body="{}")
        self._running = asyncio.create_task(Worker(words.Job(plan, 0)).run(self._commands))

    def say(self, *commands: words.Command) -> None:
        for command in commands:
            self._commands.feed_data(words.line(command))

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capture.readouterr().out.splitlines()]

    async def end(self) -> list[dict[str, Any]]:
        self._commands.feed_eof()
        await asyncio.wait_for(self._running, 20)
        return self.heard()


def answers(said: list[dict[str, Any]]) -> int:
    tallies = [word["tally"]["statuses"] for word in said if word["tally"]]
    return sum(count for statuses in tallies for count in statuses.values())


async def test_legs_are_done_and_their_ends_told(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with serving() as server:
        told = Told(server, capsysbinary)
        told.say(words.Command(Leg(0, 0, Step((2, 2), requests=7)), monotonic_ns()))
        while len(server.requests) < 7:
            await asyncio.sleep(0.01)
        said = await told.end()

    assert answers(said) == 7 and [word["is_end"] for word in said][-1] is True
    assert said[-1]["window_ns"] > 0 and said[-1]["busy"] >= 0


@pytest.mark.parametrize("rate", [None, (50.0, 50.0)], ids=["closed", "open"])
async def test_a_leg_that_is_stopped_before_it_has_begun_ends_at_once(
    capsysbinary: pytest.CaptureFixture[bytes], rate: tuple[float, float] | None
) -> None:
    with serving() as server:
        told = Told(server, capsysbinary)
        told.say(words.Command(Leg(0, 0, Step((2, 2), rate, seconds=3600)), monotonic_ns() + 1000), words.Command(None))
        await asyncio.sleep(0)
        said = await told.end()

    assert said[-1]["is_end"] and answers(said) == 0 and not server.requests


async def test_what_is_seen_is_told_while_a_leg_runs_and_nothing_twice(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    with serving(lambda number: [Say(after=0.05)]) as server:
        told = Told(server, capsysbinary)
        told.say(words.Command(LONG, monotonic_ns()))
        said = []
        while sum(bool(word["tally"]) for word in said) < 2:
            await asyncio.sleep(0.05)
            said += told.heard()
        said += await told.end()

    assert said[-1]["is_end"] and len(server.requests) - 2 <= answers(said) <= len(server.requests)


async def test_a_command_to_stop_what_does_not_run_is_none(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with serving() as server:
        told = Told(server, capsysbinary)
        told.say(words.Command(None))

        assert await told.end() == []
