"""How a request is ended by us: the refusal that its client gets, and what interrupted it if it was running."""

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reasoned no. `retry_after` in whole seconds, where waiting helps; `allow` lists methods of a 405.

    `param` names the parameter of the body that is to blame.
    """

    status: int
    code: str
    message: str
    retry_after: int | None = None
    allow: tuple[str, ...] = ()
    param: str | None = None


class Cause(enum.Enum):
    """What interrupts a running request."""

    FIRST_BYTE = "first_byte_timeout"
    IDLE = "idle_timeout"
    TOTAL = "total_timeout"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Interruption:
    """Something ends a running request from outside; the client is told the refusal, if it still can be."""

    cause: Cause
    refusal: Refusal
