"""What is said of figures, wherever they are shown."""

from __future__ import annotations

from collections.abc import Iterator

from manager.benchmark.results import BUSY, Document

# Durations beside the latency.
NAMES = {
    "first_byte": "first byte",
    "first_chunk": "first chunk of a stream",
    "gap": "between two reads of a stream",
    "connect": "opening a connection",
    "proxy": "within the proxy, as it says",
    "upstream": "upstream, as the proxy says",
    "lag": "sent late by the load itself",
}


def remarks(document: Document) -> Iterator[str]:
    """Give what has to be known to read the figures."""
    if not document.is_whole:
        yield "The run was ended before its end: these are partial results."
    for result in document.results:
        if kinds := result.figures["errors_by_kind"]:
            listed = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.items())
            yield f"Errors of {result.target}, {result.load}: {listed}"
        if "proxy_share" in result.figures:
            share = result.figures["proxy_share"]
            yield f"Time within the proxy, {result.target}, {result.load}: {share:.3g} %, the rest upstream"
        if result.busy > BUSY:
            yield (
                f"The load of {result.target}, {result.load} took {result.busy:.0%} of a core in one process: it may "
                "be what is slow. More --processes make more of it."
            )


def number(value: float | None) -> str:
    """Return a figure with three digits that matter."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
