"""Anthropic's dialect: messages, whose streams say the input first and the output, cumulated, at the end."""

import msgspec
import orjson

from addons.dialects.answer import Answer
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
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Document(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    # The first event of a stream carries the message object inside.
    message: "_Document | None" = None


_decoder = msgspec.json.Decoder(_Document)


def read(known: Answer, document: bytes | bytearray) -> Answer:
    """Return `known`, completed by what one body or SSE event says; anything unreadable changes nothing."""
    if known.model is not None and b'"usage"' not in document:
        return known
    try:
        found = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return known
    inner = found.message or found
    return Answer(inner.model or known.model, _merge(known.usage, inner.usage) if inner.usage else known.usage)


def error_body(status: int, code: str, message: str, request_id: str, param: str | None = None) -> bytes:
    """Return `{"type": "error", "error": {"type", "message"}, "request_id"}`, with our own additions to the error.

    They are `code`, and `param` where one is to blame.
    """
    kind = _ERROR_TYPES.get(status, "api_error")
    error = {"type": kind, "message": message, "code": code} | ({"param": param} if param else {})
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def _merge(known: Usage, usage: _Usage) -> Usage:
    prompt = known.prompt_tokens if usage.input_tokens is None else usage.input_tokens
    completion = known.completion_tokens if usage.output_tokens is None else usage.output_tokens
    total = None if prompt is None or completion is None else prompt + completion
    return Usage(prompt, completion, total)
