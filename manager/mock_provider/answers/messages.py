"""``POST /v1/messages``, Anthropic's API, as far as a text conversation needs it."""

from typing import Any

import orjson

from manager.mock_provider.answers.events import named
from manager.mock_provider.answers.question import Question, heard_tokens, last_said
from manager.mock_provider.answers.speech import Speech, say


def answer(question: Question) -> bytes | list[bytes]:
    """A ``message`` body, or the events of its stream. Raises ProviderError 400 if flawed."""
    model, messages, stream = question.model, question.messages(), question.stream
    question.required("max_tokens")
    speech = say(last_said(messages), question.number_of("max_tokens"), question.chunks if stream else None)
    heard = heard_tokens([*messages, {"content": question.fields.get("system")}])
    head = _head(question.number, model, heard)
    if stream:
        return [named(step) for step in _steps(head, speech)]
    ending = {"stop_reason": _stop_reason(speech), "usage": {**head["usage"], "output_tokens": speech.tokens}}
    return orjson.dumps({**head, "content": [{"type": "text", "text": speech.text}], **ending})


def _head(number: str, model: str, heard: int) -> dict[str, Any]:
    """The message as ``message_start`` shows it: nothing said yet, one output token counted."""
    nothing_cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": f"msg_mock_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": heard, **nothing_cached, "output_tokens": 1},
    }


def _stop_reason(speech: Speech) -> str:
    return "max_tokens" if speech.cut else "end_turn"


def _steps(head: dict[str, Any], speech: Speech) -> list[dict[str, Any]]:
    ending = {"stop_reason": _stop_reason(speech), "stop_sequence": None}
    return [
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": _delta(piece)} for piece in speech.pieces),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": speech.tokens}},
        {"type": "message_stop"},
    ]


def _delta(piece: str) -> dict[str, str]:
    return {"type": "text_delta", "text": piece}
