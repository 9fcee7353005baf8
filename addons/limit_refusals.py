"""Words the refusals of callers whom a limit denies: which limit, whose, and when it frees."""

from addons.ending import Refusal
from addons.limit_headers import number, seconds
from addons.refusal import QUOTA_EXCEEDED, RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE
from shared.models import Denial, LimitState, Measure, Scope, Window

_WHOSE = {Scope.TOKEN: "This token's", Scope.PROJECT: "This project's", Scope.GLOBAL: "This proxy's"}
_OF_WHAT = {
    Measure.REQUESTS: "requests",
    Measure.TOKENS: "tokens",
    Measure.COST: "USD",
    Measure.CONCURRENT: "requests at the same time",
}
# It has words of its own.
_MAX_REQUESTS = (Scope.TOKEN, Measure.REQUESTS, Window.LIFE)


def refusal_of(reason: Denial, limit: LimitState | None, wait_ms: int | None) -> Refusal:
    """Return the refusal of a caller whom a limit denied: which limit, whose, and when it frees (None or -1: never)."""
    kind = QUOTA_EXCEEDED if reason is Denial.QUOTA_EXCEEDED else RATE_LIMIT_EXCEEDED
    if limit is None or (limit.scope, limit.measure, limit.window) == _MAX_REQUESTS:
        return kind
    frees = None if wait_ms is None or wait_ms < 0 else max(seconds(wait_ms), 1)
    until = "It will not." if frees is None else f"It will in {frees} s."
    message = f"{_named(limit)} does not allow this request. {until}"
    return Refusal(kind.status, kind.code, message, frees, param=f"{limit.scope}.{limit.measure}.{limit.window}")


def overrun_of(limit: LimitState | None) -> Refusal:
    """Return what the client of an answer is told that is ended: it needs more than a limit allows.

    None: Redis takes its request for settled, so that nobody can tell.
    """
    return SERVICE_UNAVAILABLE if limit is None else refusal_of(Denial.QUOTA_EXCEEDED, limit, limit.reset_ms)


def _named(limit: LimitState) -> str:
    amount = f"{number(limit.measure, limit.amount)} {_OF_WHAT[limit.measure]}"
    of_window = "" if limit.measure is Measure.CONCURRENT else _per(limit.window)
    return f"{_WHOSE[limit.scope]} limit of {amount}{of_window}"


def _per(window: Window) -> str:
    return " in all" if window is Window.LIFE else f" per {window}"
