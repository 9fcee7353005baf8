"""One burst of load and what it showed: figures by name, each with its unit at the end of the name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Burst:
    """What one subject showed in one round.

    `errors` counts answers that were not the expected ones. `complaint` says why the burst proves nothing, if so.
    """

    figures: Mapping[str, float]
    errors: int = 0
    complaint: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed; values need not be sorted.

    Raises ValueError if there is none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def spread(name: str, values: Sequence[float], unit: str = "ms") -> dict[str, float]:
    """Return the median and the 99th percentile as figures; nothing if there are no values."""
    if not values:
        return {}
    return {f"{name}p{percent}_{unit}": percentile(values, percent) for percent in (50, 99)}
