"""Rules of the line that tells how far a run is."""

import io

import pytest

from manager.benchmark.legs import legs
from manager.benchmark.plan import Plan, Step, Target
from manager.benchmark.progress import Progress
from manager.benchmark.workers import Seen
from tests.manager.benchmark.runs import tally

SECOND = 1_000_000_000
PLAN = Plan((Target("a", "http://a"),), (Step((8, 8), seconds=30), Step((9, 9), seconds=60)), warm_up_s=5)
BY_COUNT = Plan((Target("a", "http://a"), Target("b", "http://b")), (Step((8, 8), requests=600),))


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_a_terminal_shows_rate_errors_percentiles_and_time_left_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    screen, clock = Screen(), Clock()
    progress, leg = Progress(PLAN, screen, clock), list(legs(PLAN))[1]
    seen = Seen()

    progress(leg, 5 * SECOND, seen)
    clock.ns, seen.tally = 10 * SECOND, tally(5, 100, errors=5)
    progress(leg, 5 * SECOND, seen)

    (line,) = screen.getvalue().split("\r\x1b[K")[1:]
    count = seen.tally.whole_latency.count
    start = f"1/2 8 connections · a · ETA 1:25 · {count / 5:,.0f}/s · errors 5 (0.9%) · p50/90/99 "
    assert line.startswith(start) and line.endswith("ms") and line.count("\n") == 0


def test_it_is_not_shown_more_often_than_eyes_can_follow_and_taken_away_at_the_end() -> None:
    screen, clock = Screen(), Clock()
    progress, leg = Progress(PLAN, screen, clock), next(legs(PLAN))

    for clock.ns in range(0, SECOND, SECOND // 100):
        progress(leg, 0, Seen())
    progress.end()

    shown = screen.getvalue().split("\r\x1b[K")
    assert len(shown) == 4 and "warm-up" in shown[1] and shown[-1] == ""


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    screen, clock = io.StringIO(), Clock()
    progress, leg = Progress(PLAN, screen, clock), list(legs(PLAN))[1]

    for clock.ns in range(0, 31 * SECOND, SECOND):
        progress(leg, 0, Seen())
    progress.end()

    assert screen.getvalue().count("\n") == 3 and "\x1b" not in screen.getvalue()


def test_with_requests_the_time_left_is_by_how_many_are_done() -> None:
    clock, turns = Clock(), list(legs(BY_COUNT))
    progress = Progress(BY_COUNT, io.StringIO(), clock)

    clock.ns = 30 * SECOND
    left = progress.left_s(turns[2], 0, Seen(), clock.ns)

    assert [turn.target for turn in turns[:3]] == [0, 1, 1]
    assert left == 30 * (1200 - 200) / 200
