"""What a run does: whom it asks, for what, and how much in which steps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

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
        """Return it as JSON has it in a report: without tokens, and the body by its size and digest alone."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        told["targets"] = [{"name": each.name, "url": each.url} for each in self.targets]
        told["body"] = {"bytes": len(self.body.encode()), "sha256": hashlib.sha256(self.body.encode()).hexdigest()}
        told["headers"] = [name for name, _ in self.headers]
        del told["ca_file"], told["variables"]
        return told
