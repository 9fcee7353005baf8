"""``POST /v1/chat/completions``."""

import itertools
from typing import Any

import orjson

from manager.mock_provider.answers.events import CREATED, chunks
from manager.mock_provider.answers.question import Question, heard_tokens, last_said
from manager.mock_provider.answers.speech import Speech, say
from manager.mock_provider.answers.usage import chat_usage


def answer(question: Question) -> bytes | list[bytes]:
    """A ``chat.completion`` body, or the events of its stream. Raises ProviderError 400 if flawed."""
    model, messages = question.model, question.messages()
    stream, include_usage = question.stream, question.include_usage
    limit = question.number_of("max_completion_tokens") or question.number_of("max_tokens")
    speech = say(last_said(messages), limit, question.chunks if stream else None)
    usage = chat_usage(heard_tokens(messages), speech.tokens * question.choices)
    if stream:
        return _events(question, model, speech, usage if include_usage else None)
    return orjson.dumps(_body(question, model, speech, usage))


def _head(question: Question, model: str, kind: str) -> dict[str, Any]:
    head = {"id": f"chatcmpl-mock-{question.number}", "object": kind, "created": CREATED, "model": model}
    return {**head, "service_tier": "default", "system_fingerprint": "fp_mock"}


def _finish(speech: Speech) -> str:
    return "length" if speech.cut else "stop"


def _body(question: Question, model: str, speech: Speech, usage: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": speech.text, "refusal": None}
    choice = {"message": message, "logprobs": None, "finish_reason": _finish(speech)}
    choices = [{"index": index, **choice} for index in range(question.choices)]
    return {**_head(question, model, "chat.completion"), "choices": choices, "usage": usage}


def _events(question: Question, model: str, speech: Speech, usage: dict[str, Any] | None) -> list[bytes]:
    head = _head(question, model, "chat.completion.chunk")
    return chunks(head, _steps(question.choices, speech), usage, obfuscated=question.include_obfuscation)


def _steps(choices: int, speech: Speech) -> list[dict[str, Any]]:
    """Every step of the stream for every choice: the role first, then the content, then the end."""
    role = {"role": "assistant", "content": "", "refusal": None}
    deltas = [(role, None), *(({"content": piece}, None) for piece in speech.pieces), ({}, _finish(speech))]
    return [
        {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        for (delta, finish), index in itertools.product(deltas, range(choices))
    ]
