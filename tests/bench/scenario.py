"""What a scenario is: a name, the subjects that it makes sense for, and how one burst of it is made."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.burst import Burst
from tests.bench.stage import Stage

SUBJECTS = ("direct", "engine", "engine-no-redis", "mitmdump-addons", "mitmdump-bare", "portkey", "litellm")
PROXIES = SUBJECTS[1:]

type Make = Callable[[Stage, str, float], Burst]


@dataclass(frozen=True)
class Scenario:
    """One kind of load. Scenarios of one group take turns within a round, so that they can be compared as well.

    `make(stage, subject, seconds)` makes one burst of about so many seconds. Zero rounds: as many as the run has. A
    quick run has its own seconds, rounds and subjects. A scenario that is not `usual` runs only when it is asked for
    by name. `warms_up` says whether a first burst is thrown away.
    """

    name: str
    group: str
    subjects: tuple[str, ...]
    make: Make
    seconds: float = 2.0
    rounds: int = 0
    quick_seconds: float = 1.0
    quick_rounds: int = 0
    quick_subjects: tuple[str, ...] | None = None
    usual: bool = True
    warms_up: bool = True
