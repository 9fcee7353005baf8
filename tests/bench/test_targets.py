"""Targets are judged, and what was not measured is not judged."""

import pytest

from tests.bench import targets
from tests.bench.burst import Burst
from tests.bench.rounds import Results
from tests.bench.scenarios import ALL
from tests.bench.targets import Target


def results(**figures: dict[str, float]) -> Results:
    """One round: what each `scenario__subject` showed."""
    made = Results()
    for name, shown in figures.items():
        scenario, subject = name.replace("_of_", "-").split("__")
        made.add(scenario, subject, Burst(shown))
    return made


@pytest.mark.parametrize(
    ("measured", "at_most", "verdict"),
    [
        (2.0, False, "reached"), (1.99, False, "missed"), (2.0, True, "reached"), (2.01, True, "missed"),
        (None, True, "not measured"),
    ],
)  # fmt: skip
def test_a_bound_itself_is_reached(measured: float | None, at_most: bool, verdict: str) -> None:
    judged = Target("speed", lambda _: measured, 2.0, "×", at_most, aim=3.0).judged(Results())

    assert (judged["verdict"], judged["measured"]) == (verdict, measured)
    assert judged["wanted"] == f"{'≤' if at_most else '≥'} 2 × (aim 3)"


def test_nothing_is_reached_where_nothing_was_measured() -> None:
    assert {each["verdict"] for each in targets.judge(Results())} == {"not measured"}


def test_latency_is_what_is_added_to_the_provider_by_itself() -> None:
    seen = results(small_of_1__engine={"p50_ms": 0.5}, small_of_1__direct={"p50_ms": 0.1})

    assert targets.added("small-1", "p50_ms")(seen) == pytest.approx(0.4)


def test_memory_may_neither_grow_nor_shrink() -> None:
    assert targets.drift("flat-requests")(results(flat_of_requests__engine={"rss_growth": 0.9})) == pytest.approx(0.1)


def test_scenarios_that_are_compared_take_turns_with_each_other() -> None:
    groups = {scenario.name: scenario.group for scenario in ALL}

    for ours, other in (("tls-new", "tls-kept"), ("workers-2", "workers-1"), ("reject-401", "small-16")):
        assert groups[ours] == groups[other]
