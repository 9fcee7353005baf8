"""OpenAI's dialect: chat completions, completions, embeddings and the like, and the Responses API."""

import msgspec
import orjson

from addons.dialects.answer import Answer
from shared.models import Usage

_ERROR_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
_ERROR_TYPES |= {404: "not_found_error", 405: "invalid_request_error", 413: "invalid_request_error"}
_ERROR_TYPES |= {
    415: "invalid_request_error",
    429: "rate_limit_error",
    417: "invalid_request_error",
    431: "invalid_request_error",
}


class _Usage(msgspec.Struct):
    # Chat completions and embeddings name them prompt and completion, the Responses API input and output.
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class _Document(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    # Events of a streamed response carry the response object inside.
    response: "_Document | None" = None


_decoder = msgspec.json.Decoder(_Document)


def read(known: Answer, document: bytes | bytearray) -> Answer:
    """Return `known`, completed by what one body or SSE event says; anything unreadable changes nothing."""
    if known.model is not None and b'"usage"' not in document:
        return known  # Most events of a stream: not worth decoding.
    try:
        found = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return known
    inner = found.response or found
    return Answer(inner.model or known.model, _usage(inner.usage) if inner.usage else known.usage)


def error_body(status: int, code: str, message: str, request_id: str, param: str | None = None) -> bytes:
    """Return `{"error": {"message", "type", "code", "param"}}` as OpenAI's SDKs read it."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "code": code, "param": param}})


def _usage(usage: _Usage) -> Usage:
    prompt = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    completion = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    return Usage(prompt, completion, usage.total_tokens)
