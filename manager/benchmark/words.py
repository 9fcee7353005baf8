"""What the command and its load processes say to each other: lines of JSON on standard input and output.

Tokens come this way, too: neither arguments nor environment of a process are secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from manager.benchmark.legs import Leg
from manager.benchmark.plan import Plan

# A line may hold a body or a tally.
LONGEST = 256 * 1024 * 1024


@dataclass(frozen=True)
class Job:
    """The first line to a process: the plan, and which of the processes it is."""

    plan: Plan
    number: int


@dataclass(frozen=True)
class Command:
    """Each further line to it: a leg that begins at a time of the machine's monotonic clock; None: stop.

    For so many ns its target has had load in its step before.
    """

    leg: Leg | None
    begins_ns: int = 0
    before_ns: int = 0


@dataclass(frozen=True)
class Word:
    """A line from it: it is ready; what was seen since the last word; a leg has ended.

    `window_ns` is how long load was made, `busy` the share (0..1) of a core that the process had meanwhile.
    """

    tally: dict[str, Any] | None = None
    is_end: bool = False
    window_ns: int = 0
    busy: float = 0.0


def line(said: Job | Command | Word) -> bytes:
    """Return a line."""
    return msgspec.json.encode(said) + b"\n"


def job(text: bytes) -> Job:
    """Read a line. Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Job)


def command(text: bytes) -> Command:
    """Read a line. Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Command)


def word(text: bytes) -> Word:
    """Read a line. Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Word)
