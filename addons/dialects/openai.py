"""OpenAI's dialect: chat completions, completions, embeddings and the like, and the Responses API."""

import msgspec
import orjson

from addons.dialects.answer import Answer, Said
from addons.dialects.usages import Count, first, total
from shared.models import Usage

_ERROR_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
_ERROR_TYPES |= {404: "not_found_error", 405: "invalid_request_error", 413: "invalid_request_error"}
_ERROR_TYPES |= {
    415: "invalid_request_error",
    429: "rate_limit_error",
    417: "invalid_request_error",
    431: "invalid_request_error",
}
_NOT_ENDED = ("in_progress", "queued")
# Of sound only its transcript counts as text.
_SOUND = "audio.delta"


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class _Usage(msgspec.Struct):
    # Chat completions and embeddings name them prompt and completion, the Responses API input and output; images and
    # sound have the latter, with another spelling of the details for sound.
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    status: str | None = None
    incomplete_details: _Reason | None = None


class _Function(msgspec.Struct):
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Transcript(msgspec.Struct):
    transcript: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Transcript | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Document(_Response):
    """A body, or an event: a piece of chat, or one of the Responses API, which may carry its response inside."""

    choices: list[_Choice] | None = None
    type: str | None = None
    delta: str | None = None
    response: _Response | None = None


class _Bare(_Response):
    """What is read of a document that has something unexpected elsewhere."""

    response: _Response | None = None


_decoder = msgspec.json.Decoder(_Document)
_bare_decoder = msgspec.json.Decoder(_Bare)


def read(known: Answer, document: bytes | bytearray, said: Said) -> Answer:
    """Return `known`, completed by what one body or SSE event says; anything unreadable changes nothing.

    The generated text in it is added to `said`.
    """
    if document[:1] == b"[":
        return known  # [DONE]
    try:
        found = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_bare(known, document)
    reason = _count(found, said)
    if found.usage is None and found.response is None and found.model == known.model and reason is None:
        return known  # Most events of a stream.
    return _completed(known, found.response or found, reason)


def error_body(status: int, code: str, message: str, request_id: str, param: str | None = None) -> bytes:
    """Return `{"error": {"message", "type", "code", "param"}}` as OpenAI's SDKs read it."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "code": code, "param": param}})


def _read_bare(known: Answer, document: bytes | bytearray) -> Answer:
    try:
        found = _bare_decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return known
    return _completed(known, found.response or found, None)


def _completed(known: Answer, found: _Response, reason: str | None) -> Answer:
    usage = _usage(found.usage) if found.usage else None
    reason = reason or _ending(found) or known.finish_reason
    return Answer(found.model or known.model, usage or known.usage, reason, known.is_final or usage is not None)


def _ending(found: _Response) -> str | None:
    if found.status is None or found.status in _NOT_ENDED:
        return None
    is_explained = found.status == "incomplete" and found.incomplete_details is not None
    return (found.incomplete_details.reason if is_explained and found.incomplete_details else None) or found.status


def _count(found: _Document, said: Said) -> str | None:
    """Count what a document says in pieces, and return why it ended, if it has."""
    reason = None
    for choice in found.choices or ():
        if choice.delta is not None:
            _count_delta(choice.delta, said)
        elif choice.text:
            said.add(choice.text)
        reason = reason or choice.finish_reason
    if found.delta and not (found.type and found.type.endswith(_SOUND)):
        said.add(found.delta)
    return reason


def _count_delta(delta: _Delta, said: Said) -> None:
    if delta.content:
        said.add(delta.content)
        return
    for text in (delta.refusal, delta.reasoning_content or delta.reasoning):
        if text:
            said.add(text)
    for call in delta.tool_calls or ():
        if call.function and call.function.arguments:
            said.add(call.function.arguments)
    if delta.function_call and delta.function_call.arguments:
        said.add(delta.function_call.arguments)
    if delta.audio and delta.audio.transcript:
        said.add(delta.audio.transcript)


_NOTHING = _Details()


def _usage(usage: _Usage) -> Usage | None:
    """Return a usage in our words, None if it counts something else than tokens, such as seconds."""
    prompt = first(usage.prompt_tokens, usage.input_tokens)
    completion = first(usage.completion_tokens, usage.output_tokens)
    if prompt is None and completion is None and usage.total_tokens is None:
        return None
    details = usage.prompt_tokens_details or usage.input_tokens_details or usage.input_token_details or _NOTHING
    of_output = usage.completion_tokens_details or usage.output_tokens_details or usage.output_token_details or _NOTHING
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total(prompt, completion, usage.total_tokens),
        cached_tokens=details.cached_tokens,
        cache_write_tokens=details.cache_write_tokens,
        reasoning_tokens=of_output.reasoning_tokens,
        audio_prompt_tokens=details.audio_tokens,
        audio_completion_tokens=of_output.audio_tokens,
    )
