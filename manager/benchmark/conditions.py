"""Conditions under which a run fails, such as `p99>250ms`, `proxy:error_rate>=1%` or `first_byte.p95>1s`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from manager.benchmark.results import POINTS, Document, Result
from manager.benchmark.tally import DURATIONS

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    **{">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
}
_TIMES = {"us": 0.001, "ms": 1.0, "s": 1000.0, "": 1.0}
# Units of what is no duration; the first is the usual one.
_PLAIN = {"errors": ("",), "requests": ("",), "error_rate": ("%", ""), "throughput": ("/s", "")}
_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_][\w.-]*)|(?P<sign>>=|<=|>|<|:)|(?P<number>\d+(?:\.\d+)?))")
_UNIT = re.compile(r"\s*([a-z%/]*)\s*")


class ConditionError(ValueError):
    """A condition cannot be understood; the message shows where."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        super().__init__(f"{reason}, at position {position + 1}:\n  {text}\n  {' ' * position}^")


@dataclass(frozen=True)
class Condition:
    """Fails a run if it is so in any step; `target` "" means each of them. Durations are in ms."""

    text: str
    target: str
    metric: str
    sign: str
    limit: float

    def value(self, figures: dict[str, Any]) -> float | None:
        """Return what it looks at, None if that was not seen."""
        if self.metric in _PLAIN:
            return float(figures[self.metric])
        kind, _, point = self.metric.rpartition(".")
        found: float | None = figures.get(f"{kind or 'latency'}_ms", {}).get(point)
        return found

    def fault(self, result: Result) -> str | None:
        """Return why a result fails, None if it does not. What was not seen cannot be well."""
        if self.target not in ("", result.target):
            return None
        value = self.value(result.figures)
        if value is None:
            return f"{self.text}: nothing was seen of it ({result.target}, {result.load})"
        if not _OPERATORS[self.sign](value, self.limit):
            return None
        return f"{self.text}: it is {value:.4g} ({result.target}, {result.load})"


def faults(conditions: list[Condition], document: Document) -> Iterator[str]:
    """Give a line for each condition and result that fails."""
    for condition in conditions:
        seen = [each for each in document.results if condition.target in ("", each.target)]
        if not seen:
            yield f"{condition.text}: nothing was seen of it"
        yield from filter(None, map(condition.fault, seen))


def parse(text: str) -> Condition:
    """Return a condition: `[TARGET:]METRIC<|<=|>|>=NUMBER[us|ms|s|%|/s]`. Raises ConditionError."""
    reader = _Reader(text)
    name, at = reader.take("name", "the name of a metric")
    target = ""
    if (sign := reader.take("sign", "one of < <= > >=")[0]) == ":":
        target = name
        name, at = reader.take("name", "the name of a metric")
        sign = reader.take("sign", "one of < <= > >=")[0]
    if sign == ":":
        raise ConditionError(text, reader.position - 1, "here stands one of < <= > >=")
    metric = _metric(text, name, at)
    number, _ = reader.take("number", "a number")
    return Condition(text.strip(), target, metric, sign, float(number) * reader.unit(metric))


def _metric(text: str, name: str, at: int) -> str:
    kind, _, point = name.removeprefix("latency.").rpartition(".")
    if name.startswith("p99.9") or name.endswith(".p99.9"):
        kind, point = name.removeprefix("latency.")[: -len("p99.9")].rstrip("."), "p99.9"
    known = name in _PLAIN or (point in POINTS and kind in ("", *DURATIONS))
    if not known:
        choices = ", ".join((*_PLAIN, *POINTS))
        raise ConditionError(text, at, f"{name} is none of {choices}, nor one of these after {', '.join(DURATIONS)}")
    return name if name in _PLAIN else f"{kind}.{point}" if kind else point


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def take(self, kind: str, wanted: str) -> tuple[str, int]:
        found = _TOKEN.match(self._text, self.position)
        if not found or found[kind] is None:
            spaces = len(self._text[self.position :]) - len(self._text[self.position :].lstrip())
            raise ConditionError(self._text, self.position + spaces, f"here stands {wanted}")
        self.position = found.end()
        return found[kind], found.start(kind)

    def unit(self, metric: str) -> float:
        found = _UNIT.match(self._text, self.position)
        unit, end = (found[1], found.end()) if found else ("", self.position)
        units = {each: 1.0 for each in _PLAIN[metric]} if metric in _PLAIN else _TIMES
        if unit not in units or end != len(self._text):
            known = ", ".join(filter(None, units)) or "nothing"
            raise ConditionError(self._text, self.position, f"after the number of {metric} stands {known}")
        return units[unit]
