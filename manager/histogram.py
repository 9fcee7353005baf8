"""Durations counted in buckets, each a fixed ratio wider than the one before, and what percentiles can be told of them.

Four buckets double a duration, so a percentile is known to a few percent, wherever it lies, and a day of any number of
requests is a few dozen counts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

PER_DOUBLING = 4
# Of more than 2**40 ms, some 35 years, nothing is told apart; neither is anything below a millisecond.
_LAST = 40 * PER_DOUBLING
_LONGEST_MS = 2.0**40


def bucket_of(milliseconds: float) -> str:
    """Return the name of the bucket that a duration belongs to; the names sort like the durations."""
    if not milliseconds > 1:  # Not a number either.
        return f"{0:03}"
    return f"{min(_LAST, math.floor(math.log2(min(milliseconds, _LONGEST_MS)) * PER_DOUBLING)):03}"


def merged(histograms: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the counts of several histograms together."""
    counts: dict[str, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return counts


def percentiles(counts: Mapping[str, int], wanted: Sequence[int]) -> dict[int, float]:
    """Return percentiles in milliseconds, by the nearest rank; {} of nothing.

    The durations in a bucket are taken as evenly spread over it by their ratio, so a single one is in its middle, at
    most 9.1 % away from where it really is.
    """
    total = sum(counts.values())
    ranks = {percent: max(1, math.ceil(total * percent / 100)) for percent in wanted} if total > 0 else {}
    return {percent: _at(counts, rank) for percent, rank in ranks.items()}


def _at(counts: Mapping[str, int], rank: int) -> float:
    for bucket in sorted(counts):
        count = counts[bucket]
        if rank <= count:
            return float(2 ** ((int(bucket) + (rank - 0.5) / count) / PER_DOUBLING))
        rank -= count
    raise AssertionError("a rank is within the counts")
