"""What a run does: targets, steps, and the legs into which both are cut so that targets take turns."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

# So often each target has its turn in a step, and so long a turn is.
_TURNS = 6
_SHORTEST_TURN_S, _LONGEST_TURN_S = 1.0, 10.0
_INTERVALS = 120
_SHORTEST_INTERVAL_S = 0.1


class PlanError(ValueError):
    """A plan cannot be carried out; the message says why."""


@dataclass(frozen=True)
class Target:
    """Who is asked: `url` is http or https, without user, query and fragment, its path stands before the endpoint."""

    name: str
    url: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise PlanError(f"the URL of {self.name} is none") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise PlanError(f"the URL of {self.name} must begin with http:// or https:// and have a host")
        if parts.username is not None or parts.query or parts.fragment:
            raise PlanError(f"the URL of {self.name} must be without user, query and fragment")

    @property
    def is_tls(self) -> bool:
        """Tell whether it speaks TLS."""
        return self.url.startswith("https:")

    @property
    def host(self) -> str:
        """Return its name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Return its port."""
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    def path(self, endpoint: str) -> str:
        """Return what is asked for there; `/v1` is said once though both have it."""
        before = urlsplit(self.url).path.rstrip("/")
        return (before.removesuffix("/v1") if endpoint.startswith("/v1/") else before) + endpoint


@dataclass(frozen=True)
class Step:
    """One level of load, or a way from one to another, for so many seconds or requests for each target.

    `rate` is how many requests are due each second, whatever becomes of those before; None: closed loop, in which
    each of `concurrency` callers asks when it has its answer. With a rate, `concurrency` is how many connections there
    may be.
    """

    concurrency: tuple[int, int]
    rate: tuple[float, float] | None = None
    seconds: float | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.requests is None):
            raise PlanError("a step takes either so long or so many requests")
        if self.seconds is None and any(len(set(pair)) > 1 for pair in (self.concurrency, self.rate or ())):
            raise PlanError("a ramp needs a duration")

    @property
    def name(self) -> str:
        """Return it in words, such as `16 connections` or `100–500/s`."""
        if self.rate is None:
            return f"{_span(self.concurrency)} connection{'s' if self.concurrency != (1, 1) else ''}"
        return f"{_span(self.rate)}/s"

    def part(self, start: float, end: float) -> Step:
        """Return the part of it between two shares (0..1) of its time."""
        low, high = self.concurrency
        callers = (round(low + (high - low) * start), round(low + (high - low) * end))
        seconds = None if self.seconds is None else self.seconds * (end - start)
        return replace(self, concurrency=callers, rate=self._rates(start, end), seconds=seconds)

    def _rates(self, start: float, end: float) -> tuple[float, float] | None:
        if self.rate is None:
            return None
        low, high = self.rate
        return low + (high - low) * start, low + (high - low) * end


def _span(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g}–{pair[1]:g}"


@dataclass(frozen=True)
class Timeouts:
    """Seconds: of opening a connection; of a whole request since it was due; until its first byte, None: any time."""

    connect_s: float = 10.0
    total_s: float = 60.0
    first_byte_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """All that a run does. `expected` are the statuses that are no error; none: 200 to 299."""

    targets: tuple[Target, ...]
    steps: tuple[Step, ...]
    endpoint: str = "/v1/chat/completions"
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token_header: str = "authorization"  # noqa: S105 - the name of a header
    body: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    expected: tuple[int, ...] = ()
    timeouts: Timeouts = Timeouts()
    is_kept: bool = True
    warm_up_s: float = 0.0
    processes: int = 1
    ca_file: str | None = None
    profile: str = ""

    def __post_init__(self) -> None:
        if not self.targets or not self.steps:
            raise PlanError("a plan needs a target and a step")
        if len({each.name for each in self.targets}) != len(self.targets):
            raise PlanError("two targets have the same name")
        if not self.endpoint.startswith("/") or not self.endpoint.isascii() or set(self.endpoint) & set(" \r\n\t"):
            raise PlanError("the endpoint must begin with / and be without spaces")

    @property
    def interval_s(self) -> float:
        """Return how finely the course of a step is told."""
        longest = max((each.seconds for each in self.steps if each.seconds), default=30.0)
        return max(_SHORTEST_INTERVAL_S, longest / _INTERVALS)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a report may have it: without tokens, and the body by its size and digest alone."""
        told = asdict(self)
        told["targets"] = [{"name": each.name, "url": each.url} for each in self.targets]
        told["body"] = {"bytes": len(self.body.encode()), "sha256": hashlib.sha256(self.body.encode()).hexdigest()}
        told["headers"] = [name for name, _ in self.headers]
        del told["ca_file"], told["variables"]
        return told


@dataclass(frozen=True)
class Leg:
    """A turn of one target in one step, the `turn`th; `step` -1 is warm-up."""

    step: int
    target: int
    load: Step
    turn: int = 0

    @property
    def is_warm_up(self) -> bool:
        """Tell whether it does not count."""
        return self.step < 0

    def workers(self, processes: int) -> int:
        """Return how many processes take part: none without a caller or a connection of its own."""
        most = max(self.load.concurrency) if self.load.rate is None else min(self.load.concurrency)
        return min(processes, most)


def legs(plan: Plan) -> Iterator[Leg]:
    """Return all turns, in the order in which they are had; every other round of a step goes backwards."""
    numbers = range(len(plan.targets))
    if plan.warm_up_s:
        warm = replace(plan.steps[0].part(0, 0), seconds=plan.warm_up_s, requests=None)
        yield from (Leg(-1, number, warm) for number in numbers)
    for index, step in enumerate(plan.steps):
        turns = _turns(step, len(plan.targets))
        for turn in range(turns):
            part = step.part(turn / turns, (turn + 1) / turns)
            if step.requests is not None:
                part = replace(part, requests=share(step.requests, turn, turns))
            yield from (Leg(index, each, part, turn) for each in (reversed(numbers) if turn % 2 else numbers))


def _turns(step: Step, targets: int) -> int:
    if targets == 1:
        return 1
    if step.requests is not None:
        return min(_TURNS, step.requests)
    seconds = step.seconds or 0
    longest = min(max(seconds / _TURNS, _SHORTEST_TURN_S), _LONGEST_TURN_S)
    return max(1, math.ceil(seconds / longest - 1e-9))


def share(amount: int, number: int, among: int) -> int:
    """Return what one of several has of an amount; together they have all of it."""
    return amount * (number + 1) // among - amount * number // among
