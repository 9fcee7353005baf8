"""Where the time of a request went: phases one after the other, as shares of the whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from manager.tables import Request
from manager.ui.blueprint import blueprint
from manager.ui.shown import NOTHING

_SECOND, _MINUTE = 1_000, 60_000
# Below it, a bar would not be seen.
_LEAST_PERCENT = 0.4


@dataclass(frozen=True)
class Phase:
    """A part of the time: what it is, of which kind (for its colour), when it began and how long it took (ms)."""

    label: str
    kind: str
    began: float
    took: float
    whole: float

    @property
    def x(self) -> str:
        """Where its bar begins, in percent."""
        return f"{min(100 * self.began / self.whole, 100 - _LEAST_PERCENT) if self.whole else 0:.2f}%"

    @property
    def width(self) -> str:
        """How wide its bar is, in percent."""
        share = 100 * self.took / self.whole if self.whole else 0
        return f"{min(max(share, _LEAST_PERCENT), 100):.2f}%"


def phases(row: Request) -> Sequence[Phase]:
    """Return the phases of a request: waiting, the provider's own time if it told, and the answer."""
    first_byte = None if row.first_byte_ms is None else _sensible(row.first_byte_ms)
    whole = max(_sensible(row.duration_ms), first_byte or 0)
    if not was_sent(row):
        return [Phase("Looked at here; no provider was asked", "lost", 0, whole, whole)]
    if first_byte is None:
        return [
            Phase("Waiting; no answer of the provider came", "lost", 0, whole, whole),
            *_provider(row, whole, whole),
        ]
    return [
        Phase("Waiting for the provider's first byte", "waiting", 0, first_byte, whole),
        *_provider(row, first_byte, whole),
        Phase("Passing on the answer as it came" if row.is_stream else "Passing on the answer", "answer",
              first_byte, whole - first_byte, whole),
    ]  # fmt: skip


def was_sent(row: Request) -> bool:
    """Tell whether a provider was asked: then there was a key to ask with."""
    return row.attempts > 0 and row.upstream_key_id is not None


def _provider(row: Request, until: float, whole: float) -> Sequence[Phase]:
    if row.provider_ms is None:
        return []
    took = min(_sensible(row.provider_ms), until)
    return [Phase("Of that at the provider, by its own words", "provider", until - took, took, whole)]


def _sensible(milliseconds: float) -> float:
    return milliseconds if math.isfinite(milliseconds) and milliseconds > 0 else 0.0


@blueprint.app_template_filter("duration")
def duration(milliseconds: float | None) -> str:
    """Return a time that something took, as exactly as people want to know it.

    >>> duration(0), duration(0.4), duration(812.5), duration(12_340), duration(200_000), duration(None)
    ('0 ms', '0.4 ms', '812 ms', '12.3 s', '3 min 20 s', '–')
    """
    if milliseconds is None:
        return NOTHING
    if 0 < milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 10 * _SECOND:
        return f"{milliseconds:,.0f} ms"
    if milliseconds < 2 * _MINUTE:
        return f"{milliseconds / _SECOND:.1f} s"
    minutes, rest = divmod(round(milliseconds / _SECOND), 60)
    return f"{minutes:,} min {rest} s"
