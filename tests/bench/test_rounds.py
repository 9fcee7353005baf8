"""Turns, medians, and ratios of the same round."""

from typing import cast

import pytest

from tests.bench import rounds
from tests.bench.burst import Burst
from tests.bench.rounds import Pace, Results, rotated
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage


class QuietStage:
    """Nothing to wait for."""

    def settle(self) -> None:
        """Return at once."""


def results(**rps: list[float]) -> Results:
    """What subjects showed in a scenario called `small`."""
    made = Results()
    for subject, values in rps.items():
        for value in values:
            made.add("small", subject, Burst({"rps": value}))
    return made


def scenario(name: str, made: list[tuple[str, str, float]], **more: object) -> Scenario:
    """One that notes its bursts."""

    def make(stage: Stage, subject: str, seconds: float) -> Burst:
        made.append((name, subject, seconds))
        return Burst({"rps": 1.0})

    return Scenario(name, cast(str, more.pop("group", "group")), ("a", "b"), make, **more)  # type: ignore[arg-type]


def test_a_ratio_is_taken_within_rounds_so_that_a_slow_round_harms_nobody() -> None:
    seen = results(ours=[100, 10, 120], peer=[50, 5, 60])

    assert seen.ratio(("small", "ours"), ("small", "peer")) == 2.0


def test_a_difference_is_the_median_of_differences() -> None:
    seen = results(ours=[5, 9, 7], peer=[1, 2, 1])

    assert seen.difference(("small", "ours"), ("small", "peer"), "rps") == 6


def test_a_round_in_which_something_was_wrong_proves_nothing() -> None:
    seen = results(ours=[100, 100], peer=[50])
    seen.add("small", "peer", Burst({"rps": 1.0}, 9, "9 answers were wrong"))

    assert seen.ratio(("small", "ours"), ("small", "peer")) == 2.0
    assert seen.proven(("small", "peer"), "rps") == 50


@pytest.mark.parametrize("other", [("small", "nobody"), ("large", "ours")])
def test_there_is_no_ratio_to_what_was_not_measured(other: tuple[str, str]) -> None:
    assert results(ours=[1]).ratio(("small", "ours"), other) is None


def test_subjects_of_all_scenarios_of_a_group_take_turns() -> None:
    made: list[tuple[str, str, float]] = []
    first, second = scenario("first", made, warms_up=False), scenario("second", made, warms_up=False)

    seen = rounds.run(cast(Stage, QuietStage()), [first, second], {"a", "b"}, Pace(quick=False, rounds=2), print)

    turn = [("first", "a"), ("first", "b"), ("second", "a"), ("second", "b")]
    assert [each[:2] for each in made[:4]] == turn
    assert sorted(each[:2] for each in made[4:]) == turn
    assert {key: len(bursts) for key, bursts in seen.bursts.items()} == dict.fromkeys(turn, 2)


def test_only_wanted_subjects_take_part_and_their_warm_up_does_not_count() -> None:
    made: list[tuple[str, str, float]] = []

    seen = rounds.run(cast(Stage, QuietStage()), [scenario("one", made)], {"a"}, Pace(quick=False, rounds=1), print)

    assert [each[1] for each in made] == ["a", "a"]
    assert len(seen.bursts["one", "a"]) == 1


def test_a_quick_run_has_its_own_seconds_rounds_and_subjects() -> None:
    one = scenario("one", [], seconds=4, rounds=5, quick_seconds=1, quick_rounds=2, quick_subjects=("b",))
    full, quick = Pace(quick=False, rounds=9), Pace(quick=True, rounds=3)

    assert (full.seconds_of(one), full.rounds_of(one), full.subjects_of(one)) == (4, 5, ("a", "b"))
    assert (quick.seconds_of(one), quick.rounds_of(one), quick.subjects_of(one)) == (1, 2, ("b",))
    assert Pace(quick=True, rounds=1).rounds_of(one) == 1


def test_each_round_begins_with_another_turn() -> None:
    turns = [(scenario(name, []), "a") for name in "12345"]

    orders = ["".join(each.name for each, _ in rotated(turns, number)) for number in range(3)]

    assert orders == ["12345", "34512", "51234"]
