"""Rules of comparisons: what is not by chance and not small is told, and what cannot be compared is not."""

from dataclasses import replace

import pytest

from manager.benchmark.compare import BETTER, NOT_COMPARABLE, SAME, WORSE, compare
from manager.benchmark.plan import Target
from manager.benchmark.results import Document
from manager.benchmark.tally import Tally
from tests.manager.benchmark.runs import run, tally


@pytest.mark.parametrize("seed", range(2, 12))
def test_chance_makes_no_difference(seed: int) -> None:
    assert compare(run(tally(seed=1)), run(tally(seed=seed))).verdict == SAME


@pytest.mark.parametrize(("ms", "verdict"), [(28, WORSE), (15, BETTER)])
def test_other_latencies_are_told(ms: float, verdict: str) -> None:
    found = compare(run(tally()), run(tally(ms=ms, seed=2)))

    assert found.verdict == verdict
    by_metric = {each.metric: each for each in found.changes}
    assert by_metric["p50"].verdict == by_metric["p95"].verdict == by_metric["p99"].verdict == verdict
    assert by_metric["throughput"].verdict == SAME
    change = by_metric["p50"]
    assert change.change is not None and change.low is not None and change.high is not None
    assert change.low < change.change < change.high and change.change == pytest.approx(ms / 20 - 1, abs=0.05)


@pytest.mark.parametrize(("rate", "verdict"), [(80, WORSE), (120, BETTER)])
def test_other_throughput_is_told(rate: int, verdict: str) -> None:
    found = compare(run(tally()), run(tally(rate=rate, seed=2)))

    assert found.verdict == verdict and found.changes[0].verdict == verdict


def test_a_difference_that_is_certain_but_tolerated_is_none() -> None:
    before, after = run(tally()), run(tally(ms=24, seed=2))

    assert compare(before, after, tolerance=0.5).verdict == SAME


def test_a_difference_that_chance_makes_as_well_is_none() -> None:
    def wild(seed: int) -> Document:
        made = Tally()
        for second in range(10):
            made.merge(moved(tally(1, 40, ms=10 if (second + seed) % 2 else 60, seed=seed * 100 + second), second))
        made.done = float(made.whole_latency.count)
        return run(made, seconds=10)

    def moved(one: Tally, to: int) -> Tally:
        one.latency = {to: one.latency[0]}
        return one

    before, after = wild(1), wild(2)

    assert compare(before, after, tolerance=0.0).verdict == SAME


def test_more_errors_are_worse_and_fewer_better() -> None:
    few, many = run(tally(errors=10)), run(tally(errors=100, seed=2))

    assert (compare(few, many).verdict, compare(many, few).verdict) == (WORSE, BETTER)
    assert compare(run(tally(errors=10)), run(tally(errors=14, seed=2))).verdict == SAME


def test_a_run_that_has_but_errors_is_worse() -> None:
    broken = Tally()
    for second in range(30):
        broken.failed(second, "timeout")

    assert compare(run(tally()), run(broken)).verdict == WORSE


def test_the_same_runs_compare_the_same_each_time() -> None:
    before, after = run(tally()), run(tally(seed=3))

    assert compare(before, after) == compare(before, after)


INCOMPARABLE = {
    "other endpoint": (run(tally()), run(tally(), endpoint="/v1/models"), "`endpoint`"),
    "other body": (run(tally()), run(tally(), body="{}"), "`body`"),
    "other load": (run(tally()), run(tally(), seconds=29), "`steps`"),
    "in part": (run(tally()), run(tally(), is_whole=False), "the second was ended"),
    "too short": (run(tally(5), seconds=5), run(tally(5), seconds=5), "too short: 5 intervals"),
    "too few": (run(tally(rate=0)), run(tally(rate=0)), "0 answers are too few"),
    "others": (
        run(tally(), tally()),
        run(tally(), tally(), targets=(Target("x", "http://x"), Target("y", "http://y"))),
        "no step and target in common",
    ),
}


@pytest.mark.parametrize("case", INCOMPARABLE)
def test_what_cannot_be_compared_is_not(case: str) -> None:
    before, after, reason = INCOMPARABLE[case]

    found = compare(before, after)

    assert found.verdict == NOT_COMPARABLE and reason in found.reasons[0]


def test_single_targets_are_compared_whatever_their_names() -> None:
    before = run(tally())
    after = run(tally(seed=2), targets=(Target("other", "http://other"),))

    assert compare(before, after).verdict == SAME


def test_percentiles_that_few_requests_make_are_left_out() -> None:
    few = replace(run(tally(rate=5)))

    assert {each.metric for each in compare(few, run(tally(rate=5, seed=2))).changes} == {
        "throughput",
        "p50",
        "error_rate",
    }
