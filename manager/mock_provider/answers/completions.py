"""``POST /v1/completions``, the older text API."""

from typing import Any

import orjson

from manager.mock_provider.answers.events import CREATED, chunks
from manager.mock_provider.answers.question import Question, texts_and_tokens
from manager.mock_provider.answers.speech import Speech, say
from manager.mock_provider.answers.usage import chat_usage


def answer(question: Question) -> bytes | list[bytes]:
    """A ``text_completion`` body, or the events of its stream: ``n`` choices for each prompt.

    Raises ProviderError 400 for a flawed question.
    """
    model, stream, include_usage = question.model, question.stream, question.include_usage
    prompts, tokens = texts_and_tokens("prompt", question.required("prompt"))
    limit, pieces = question.number_of("max_tokens"), question.chunks if stream else None
    speeches = [say(prompt, limit, pieces) for prompt in prompts for _ in range(question.choices)]
    usage = chat_usage(tokens, sum(speech.tokens for speech in speeches))
    head = {"id": f"cmpl-mock-{question.number}", "object": "text_completion", "created": CREATED}
    head["model"] = model
    if stream:
        steps = [step for index, speech in enumerate(speeches) for step in _steps(index, speech)]
        return chunks(head, steps, usage if include_usage else None, obfuscated=question.include_obfuscation)
    choices = [_choice(index, speech.text, _finish(speech)) for index, speech in enumerate(speeches)]
    return orjson.dumps({**head, "choices": choices, "usage": usage})


def _finish(speech: Speech) -> str:
    return "length" if speech.cut else "stop"


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _steps(index: int, speech: Speech) -> list[dict[str, Any]]:
    pieces = [_choice(index, piece, None) for piece in speech.pieces]
    return [*pieces, _choice(index, "", _finish(speech))]
