"""Anthropic's dialect: messages, whose streams say the input first and the output, cumulated, at the end."""

import msgspec
import orjson

from addons.dialects.answer import Answer, Said
from addons.dialects.usages import Count, first, total
from shared.models import Usage

_ERROR_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
_ERROR_TYPES |= {404: "not_found_error", 405: "invalid_request_error", 413: "request_too_large"}
_ERROR_TYPES |= {
    415: "invalid_request_error",
    429: "rate_limit_error",
    417: "invalid_request_error",
    431: "invalid_request_error",
}


class _Usage(msgspec.Struct):
    # Unlike others, the input tokens leave out what was read from and written to the cache.
    input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    output_tokens: Count | None = None


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    stop_reason: str | None = None


class _Document(_Message):
    """A body, or an event: the first one of a stream carries the message inside."""

    delta: _Delta | None = None
    message: _Message | None = None


_decoder = msgspec.json.Decoder(_Document)


def read(known: Answer, document: bytes | bytearray, said: Said) -> Answer:
    """Return `known`, completed by what one body or SSE event says; anything unreadable changes nothing.

    The generated text in it is added to `said`.
    """
    try:
        found = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return known
    delta = found.delta
    if delta is not None:
        said.add(delta.text or delta.partial_json or delta.thinking or "")
    inner = found.message or found
    reason = inner.stop_reason or (delta.stop_reason if delta else None)
    if inner.usage is None and inner.model is None and reason is None:
        return known  # Most events of a stream.
    usage = _merge(known.usage, inner.usage) if inner.usage else known.usage
    is_final = known.is_final or (inner.usage is not None and found.message is None)
    return Answer(inner.model or known.model, usage, reason or known.finish_reason, is_final)


def error_body(status: int, code: str, message: str, request_id: str, param: str | None = None) -> bytes:
    """Return `{"type": "error", "error": {"type", "message"}, "request_id"}`, with our own additions to the error.

    They are `code`, and `param` where one is to blame.
    """
    kind = _ERROR_TYPES.get(status, "api_error")
    error = {"type": kind, "message": message, "code": code} | ({"param": param} if param else {})
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def _merge(known: Usage, usage: _Usage) -> Usage:
    cached = first(usage.cache_read_input_tokens, known.cached_tokens)
    written = first(usage.cache_creation_input_tokens, known.cache_write_tokens)
    fresh = first(usage.input_tokens, _fresh(known))
    prompt = None if fresh is None else fresh + (cached or 0) + (written or 0)
    completion = first(usage.output_tokens, known.completion_tokens)
    return Usage(prompt, completion, total(prompt, completion), cached, written)


def _fresh(known: Usage) -> int | None:
    """Return the input tokens that had nothing to do with the cache."""
    if known.prompt_tokens is None:
        return None
    return known.prompt_tokens - (known.cached_tokens or 0) - (known.cache_write_tokens or 0)
