"""The lines above every body: whose request it is, what it took, what it cost, and where to read on.

They are made of `flow.metadata["llm_proxy"]`, which whoever shows flows puts there: names to plain values, any of which
may be missing. What clients name is among them, so no value can look like another line or another fact.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mitmproxy.flow import Flow

from addons.dialects.conversation.plain import word

BESIDE = "llm_proxy"
_BETWEEN = " | "


def about(flow: Flow | None) -> Mapping[str, Any]:
    """Return what is known of a flow, or nothing."""
    known = flow.metadata.get(BESIDE) if flow is not None else None
    return known if isinstance(known, Mapping) else {}


def lines(known: Mapping[str, Any]) -> list[str]:
    """Return what is known of a request, in a few lines: how it went, whose it is, and its page in the admin UI."""
    rows = [[fact for tell in row if (fact := tell(known))] for row in (_HOW_IT_WENT, _WHOSE)]
    written = [_BETWEEN.join(row) for row in rows if row]
    address = _said(known.get("request_url"))
    return [*written, address] if address else written


def _said(value: Any) -> str:
    """Return a value as a word; "" for what is missing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return word(str(value)).replace("|", "/")


def _named(name: str, label: str = "") -> Callable[[Mapping[str, Any]], str]:
    def tell(known: Mapping[str, Any]) -> str:
        said = _said(known.get(name))
        return f"{label or name} {said}" if said else ""

    return tell


def _number(known: Mapping[str, Any], name: str) -> float | None:
    value = known.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    return value if is_number else None


def _tokens(known: Mapping[str, Any]) -> str:
    prompt, completion = _number(known, "prompt_tokens"), _number(known, "completion_tokens")
    if prompt is None and completion is None:
        return ""
    estimated = " (an estimate)" if known.get("is_estimate") else ""
    return f"tokens {prompt or 0:.0f} + {completion or 0:.0f}{estimated}"


def _cost(known: Mapping[str, Any]) -> str:
    cost = _number(known, "cost_nano_usd")
    return "" if cost is None else f"cost {cost / 1e9:.6f} USD"


def _time(name: str, label: str) -> Callable[[Mapping[str, Any]], str]:
    def tell(known: Mapping[str, Any]) -> str:
        took = _number(known, name)
        if took is None:
            return ""
        return f"{label} {took:.0f} ms" if took < 1000 else f"{label} {took / 1000:.2f} s"

    return tell


def _held_until(known: Mapping[str, Any]) -> str:
    seconds = _number(known, "held_until")
    if not seconds:
        return ""
    try:
        return f"held until {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return ""


_HOW_IT_WENT = (
    _named("phase"),
    _held_until,
    _named("status"),
    _named("outcome"),
    _named("code"),
    _named("model"),
    _tokens,
    _cost,
    _time("first_byte_ms", "first byte"),
    _time("duration_ms", "took"),
    _named("chunks"),
    _named("attempts"),
)
_WHOSE = (
    _named("project"),
    _named("token"),
    _named("provider"),
    _named("route"),
    _named("rule"),
    _named("tags"),
    _named("request_id", "request"),
)
