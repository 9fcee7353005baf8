"""Token counts as providers write them: what a count may be, and sums of them."""

from typing import Annotated

import msgspec

# Counts go into counters of limits, where a negative one would give tokens back.
type Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


def total(prompt: int | None, completion: int | None, said: int | None = None) -> int | None:
    """Return what the provider said, or the sum if both parts are known."""
    if said is not None or prompt is None or completion is None:
        return said
    return prompt + completion


def first(*counts: int | None) -> int | None:
    """Return the first count that is known."""
    return next((count for count in counts if count is not None), None)
