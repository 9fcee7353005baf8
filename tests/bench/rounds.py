"""Takes turns: every subject of every scenario of a group in each round, so that noise of the machine meets all."""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.burst import Burst
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage

WARM_UP_SECONDS = 1.0


type Turn = tuple[Scenario, str]
type Key = tuple[str, str]


@dataclass(frozen=True)
class Pace:
    """How long a run takes its time."""

    quick: bool
    rounds: int

    def rounds_of(self, scenario: Scenario) -> int:
        """How often a scenario's turn comes."""
        limit = (scenario.quick_rounds if self.quick else 0) or scenario.rounds or self.rounds
        return min(self.rounds, limit)

    def seconds_of(self, scenario: Scenario) -> float:
        """How long one burst is."""
        return scenario.quick_seconds if self.quick else scenario.seconds

    def subjects_of(self, scenario: Scenario) -> tuple[str, ...]:
        """Which subjects take part."""
        chosen = scenario.quick_subjects if self.quick else None
        return scenario.subjects if chosen is None else chosen

    def warm_ups(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return what is done once before the first round: every turn, or in a quick run one of each subject."""
        wanted = [turn for turn in turns if turn[0].warms_up]
        return list({subject: (scenario, subject) for scenario, subject in wanted}.values()) if self.quick else wanted


FULL, QUICK = Pace(quick=False, rounds=5), Pace(quick=True, rounds=3)


class Results:
    """The bursts of each scenario and subject, by round."""

    def __init__(self) -> None:
        self.bursts: dict[Key, list[Burst]] = {}

    def add(self, scenario: str, subject: str, burst: Burst) -> None:
        """Note the burst of the next round."""
        self.bursts.setdefault((scenario, subject), []).append(burst)

    def values(self, key: Key, figure: str) -> list[float]:
        """Return a figure of each round that has it."""
        return [burst.figures[figure] for burst in self.bursts.get(key, ()) if figure in burst.figures]

    def proven(self, key: Key, figure: str) -> float | None:
        """Return the median of a figure over the rounds that nothing is wrong with."""
        values = [burst.figures[figure] for burst in self.bursts.get(key, ()) if _proves(burst, figure)]
        return median(values) if values else None

    def paired(self, ours: Key, other: Key, figure: str, how: Callable[[float, float], float]) -> float | None:
        """Return the median of what `how` makes of the figures of the same round, where both prove something."""
        pairs = zip(self.bursts.get(ours, ()), self.bursts.get(other, ()), strict=False)
        sound = [pair for pair in pairs if all(_proves(burst, figure) for burst in pair)]
        values = [how(own.figures[figure], their.figures[figure]) for own, their in sound]
        return median(values) if values else None

    def ratio(self, ours: Key, other: Key, figure: str = "rps") -> float | None:
        """Return how many times the other's figure ours is."""
        return self.paired(ours, other, figure, lambda own, their: own / their)

    def difference(self, ours: Key, other: Key, figure: str) -> float | None:
        """Return how much ours is above the other's."""
        return self.paired(ours, other, figure, lambda own, their: own - their)


def _proves(burst: Burst, figure: str) -> bool:
    return not burst.complaint and bool(burst.figures.get(figure))


def run(
    stage: Stage, scenarios: Sequence[Scenario], subjects: Collection[str], pace: Pace, say: Callable[[str], None]
) -> Results:
    """Run groups one after the other, each in turns. `say` gets a line for each round of a group."""
    results = Results()
    for group, members in itertools.groupby(scenarios, lambda scenario: scenario.group):
        turns = [(each, name) for each in members for name in pace.subjects_of(each) if name in subjects]
        _run_group(stage, group, turns, pace, say, results)
    return results


def _run_group(
    stage: Stage, group: str, turns: Sequence[Turn], pace: Pace, say: Callable[[str], None], results: Results
) -> None:
    for scenario, subject in pace.warm_ups(turns):
        stage.settle()
        scenario.make(stage, subject, WARM_UP_SECONDS)
    for number in range(max((pace.rounds_of(scenario) for scenario, _ in turns), default=0)):
        say(f"{group}: round {number + 1}")
        for scenario, subject in rotated(turns, number):
            if number < pace.rounds_of(scenario):
                stage.settle()
                results.add(scenario.name, subject, scenario.make(stage, subject, pace.seconds_of(scenario)))


def rotated(turns: Sequence[Turn], number: int) -> Iterator[Turn]:
    """Begin each round with another one, so that nobody always follows the same neighbour's end."""
    start = number * 2 % len(turns)
    yield from turns[start:]
    yield from turns[:start]
