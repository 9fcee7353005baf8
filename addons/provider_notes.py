"""What a provider notes in the head of its answer: its own id of the request, and how long it took."""

from mitmproxy import http

_LONGEST_ID = 256
_LONGEST_MS = 1e9


def request_id(headers: http.Headers, own: str) -> str | None:
    """Return the provider's id of the request, None if it gives none.

    OpenAI's is in `x-request-id`, where headers.py has put our `own` id if there was none. Anthropic's is in
    `request-id`.
    """
    given: str | None = headers.get("request-id") or headers.get("x-request-id")
    if given is None or given == own or len(given) > _LONGEST_ID or not given.isprintable():
        return None
    return given


def processing_ms(headers: http.Headers) -> float | None:
    """Return the milliseconds that OpenAI says it took, None if it does not say or it is no such number."""
    try:
        spent = float(headers.get("openai-processing-ms", ""))
    except ValueError:
        return None
    return spent if 0 <= spent <= _LONGEST_MS else None
