"""Line plots as SVG, without a script: a name in full for each line, ticks that people would choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 32, 30, 40
# As many as are told apart with ease; further lines begin anew, dashed.
COLOURS = 6
_ROW = Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/><text class="y" x="{3}" y="{4}">{5}</text>')
_TICK = Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text class="x" x="{0}" y="{3}">{4}</text>')
_DOT = Markup('<circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>')
_FRAME = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')


@dataclass(frozen=True)
class Line:
    """A line by its points; `is_thin` for one that accompanies another of the same colour."""

    name: str
    colour: int
    points: Sequence[tuple[float, float]]
    is_thin: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: `ticks` are values and what stands beside them, `place` says where (0..1) a value is."""

    title: str
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def linear(title: str, highest: float) -> Axis:
    """Return an axis from zero."""
    top = highest if highest > 0 else 1.0
    size = 10 ** math.floor(math.log10(top))
    step = next(size * each for each in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5) if top / (size * each) <= 5)
    top = math.ceil(top / step - 1e-9) * step
    ticks = [(each * step, label(each * step)) for each in range(round(top / step) + 1)]
    return Axis(title, ticks, lambda value: value / top)


def logarithmic(title: str, lowest: float, highest: float) -> Axis:
    """Return an axis of whole powers of ten; both ends are above zero."""
    low = math.floor(math.log10(lowest) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(highest) - 1e-9))
    ticks = [(10.0**each, label(10.0**each)) for each in range(low, high + 1)]
    return Axis(title, ticks, lambda value: (math.log10(max(value, 10.0**low)) - low) / (high - low))


def nines(title: str, most: int) -> Axis:
    """Return an axis of percentiles (0..1) on which 90, 99 and 99.9 % are equally far apart."""
    names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]
    ticks = [(1 - 10.0**-each, names[each]) for each in range(most + 1)]
    return Axis(title, ticks, lambda share: min(1.0, -math.log10(max(1e-9, 1 - share)) / most))


def label(value: float) -> str:
    """Return a tick's text.

    >>> label(2500000), label(1500), label(0.25), label(0)
    ('2.5M', '1.5k', '0.25', '0')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def plot(title: str, across: Axis, up: Axis, lines: Sequence[Line]) -> Markup:
    """Return a plot, in which everything is escaped; its styles are of the page it stands in."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return round(_LEFT + across.place(value) * wide, 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - up.place(value)) * high, 1)

    parts = [Markup('<text class="title" x="{}" y="16">{}</text>').format(_LEFT, title)]
    for value, text in up.ticks:
        parts.append(_ROW.format(_LEFT, _WIDTH - _RIGHT, y(value), _LEFT - 6, y(value) + 4, text))
    for value, text in across.ticks:
        parts.append(_TICK.format(x(value), _TOP, _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM + 15, text))
    parts.append(Markup('<text class="x" x="{}" y="{}">{}</text>').format(_LEFT + wide / 2, _HEIGHT - 6, across.title))
    parts.append(Markup('<text class="unit" x="{}" y="16">{}</text>').format(_WIDTH - _RIGHT, up.title))
    parts += [_drawn(line, x, y) for line in lines if line.points]
    return _FRAME.format(_WIDTH, _HEIGHT, title, Markup("").join(parts))


def _drawn(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    style = f"line c{line.colour % COLOURS}" + (" thin" if line.is_thin else "")
    style += " dashed" if line.colour >= COLOURS else ""
    name = escape(line.name)
    if len(line.points) == 1:
        return _DOT.format(style, x(line.points[0][0]), y(line.points[0][1]), name)
    points = " ".join(f"{x(first)},{y(second)}" for first, second in line.points)
    return Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>').format(style, points, name)
