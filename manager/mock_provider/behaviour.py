"""How the provider behaves, be it slow, failing, cutting or holding: one frozen value, checked once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_TEN_MINUTES_MS = 600_000.0
_MANY = 1_000_000
_QUARTER_GIB = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The settable behaviour; the default behaves well.

    ``latency_ms``: wait before the response headers. ``chunk_interval_ms``: wait between two pieces of an answer
    (events of a stream or WebSocket, 64 KiB of anything longer).
    ``chunks``: number of content chunks of a stream, None = one per word of the answer.
    ``error_rate``: share (0..1) of requests answered with ``error_status`` (400..599) and, if set, a
    ``Retry-After`` of ``retry_after_s`` seconds. ``abort_rate``: share of answers cut in mid-body.
    ``hold_after``: an answer in pieces falls silent after this many of them until released, None = never.
    ``response_bytes``: pad plain JSON answers to this size, None = as they are. ``compress``: "gzip" or None.
    ``seed``: of the random choices; the same seed and the same requests give the same errors and cuts.
    ``status``: every request is answered with it: 204 and 304 without a body, 400..599 as an error; None = as due.
    ``rate``: requests a second that one key may make, in bursts of one second; those above it get a 429.
    ``fail_first``: that many requests get ``error_status``, those after them an answer. Counted from when it was set,
    for the provider or the key; set by a request's header, over all requests with the same header text.
    ``close_after_answer``: each answer carries ``Connection: close`` and ends its connection.
    ``answers_per_connection``: the request after that many answers finds its kept connection broken, and is not seen;
    None = any number. ``keep_alive_s``: a kept connection is closed after so long without a request, None = 75 s.

    Raises ValueError, naming the field and its allowed values, for anything else.
    """

    latency_ms: float = 0
    chunk_interval_ms: float = 0
    chunks: int | None = None
    error_rate: float = 0
    error_status: int = 500
    retry_after_s: float | None = None
    abort_rate: float = 0
    hold_after: int | None = None
    response_bytes: int | None = None
    compress: str | None = None
    seed: int = 0
    status: int | None = None
    rate: float | None = None
    fail_first: int = 0
    close_after_answer: bool = False
    answers_per_connection: int | None = None
    keep_alive_s: float | None = None

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            rule.check(name, getattr(self, name))
        if self.compress not in (None, "gzip"):
            raise ValueError(f'compress must be "gzip" or null, not {self.compress!r}')
        if type(self.close_after_answer) is not bool:
            raise ValueError(f"close_after_answer must be true or false, not {self.close_after_answer!r}")
        if self.status not in _BARE:
            _ERROR_STATUS.check("status", self.status, "204, 304 or ")

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, ready for JSON; ``parse`` reads it back."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class _Rule:
    """The values one field may have."""

    low: float
    high: float
    whole: bool = False
    optional: bool = False

    def check(self, name: str, value: object, besides: str = "") -> None:
        if not (value is None and self.optional) and not self._allows(value):
            raise ValueError(f"{name} must be {besides}{self._words()}, not {value!r}")

    def _allows(self, value: object) -> bool:
        kinds = int if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    def _words(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:.15g} to {self.high:.15g}" + (" or null" if self.optional else "")


_RULES = {
    "latency_ms": _Rule(0, _TEN_MINUTES_MS),
    "chunk_interval_ms": _Rule(0, _TEN_MINUTES_MS),
    "chunks": _Rule(1, _MANY, whole=True, optional=True),
    "error_rate": _Rule(0, 1),
    "error_status": _Rule(400, 599, whole=True),
    "retry_after_s": _Rule(0, 86_400, optional=True),
    "abort_rate": _Rule(0, 1),
    "hold_after": _Rule(0, _MANY, whole=True, optional=True),
    "response_bytes": _Rule(0, _QUARTER_GIB, whole=True, optional=True),
    "seed": _Rule(-(2**63), 2**63, whole=True),
    "rate": _Rule(0, _MANY, optional=True),
    "fail_first": _Rule(0, _MANY, whole=True),
    "answers_per_connection": _Rule(1, _MANY, whole=True, optional=True),
    "keep_alive_s": _Rule(0, 86_400, optional=True),
}
_BARE = (204, 304)
_ERROR_STATUS = _Rule(400, 599, whole=True, optional=True)

WELL_BEHAVED = Behaviour()


def parse(fields: object, base: Behaviour = WELL_BEHAVED) -> Behaviour:
    """``base`` with ``fields`` (a mapping of field name to value, as from JSON) laid over it.

    Raises ValueError for anything but a mapping, for an unknown name and for a value out of its range.
    """
    if not isinstance(fields, Mapping):
        raise ValueError("a behaviour must be a JSON object")
    known = [field.name for field in dataclasses.fields(Behaviour)]
    for name in fields:
        if name not in known:
            raise ValueError(f"unknown behaviour {name!r}; known: {', '.join(known)}")
    return dataclasses.replace(base, **fields)


def from_json(text: bytes, base: Behaviour = WELL_BEHAVED) -> Behaviour:
    """``parse`` of a JSON text; what is no JSON is a ValueError too."""
    return parse(orjson.loads(text), base)
