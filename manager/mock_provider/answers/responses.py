"""``POST /v1/responses``."""

from typing import Any

import orjson

from manager.mock_provider.answers.events import CREATED, named
from manager.mock_provider.answers.question import Question, heard_tokens, last_said
from manager.mock_provider.answers.speech import Speech, say


def answer(question: Question) -> bytes | list[bytes]:
    """A ``response`` body, or the events of its stream. Raises ProviderError 400 if flawed."""
    model, stream, limit = question.model, question.stream, question.number_of("max_output_tokens")
    messages = _messages(question)
    speech = say(last_said(messages), limit, question.chunks if stream else None)
    instructions = question.fields.get("instructions")
    heard = heard_tokens([*messages, {"content": instructions}])
    head = {**_head(question.number, model), "instructions": instructions}
    whole = {**head, **_ending(question.number, speech, heard)}
    return _events(head, whole, speech) if stream else orjson.dumps(whole)


def _messages(question: Question) -> list[Any]:
    asked = question.required("input")
    return [{"role": "user", "content": asked}] if isinstance(asked, str) else question.messages("input")


def _head(number: str, model: str) -> dict[str, Any]:
    """The response as it is before anything was said."""
    return {
        "id": f"resp_mock_{number}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
        "metadata": {},
    }


def _ending(number: str, speech: Speech, heard: int) -> dict[str, Any]:
    """What the end of the answer changes in the head."""
    return {
        "status": _status(speech),
        "incomplete_details": {"reason": "max_output_tokens"} if speech.cut else None,
        "output": [_item(number, _status(speech), [_part(speech.text)])],
        "usage": {
            "input_tokens": heard,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": speech.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": heard + speech.tokens,
        },
    }


def _status(speech: Speech) -> str:
    return "incomplete" if speech.cut else "completed"


def _item(number: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    head = {"id": f"msg_mock_{number}", "type": "message", "status": status, "role": "assistant"}
    return {**head, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


_NOTHING_SAID: dict[str, Any] = {"status": "in_progress", "content": []}


def _events(head: dict[str, Any], whole: dict[str, Any], speech: Speech) -> list[bytes]:
    item = whole["output"][0]
    place = {"output_index": 0, "content_index": 0, "item_id": item["id"]}
    steps: list[dict[str, Any]] = [
        {"type": "response.created", "response": head},
        {"type": "response.in_progress", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, **_NOTHING_SAID}},
        {"type": "response.content_part.added", **place, "part": _part("")},
        *({"type": "response.output_text.delta", **place, "delta": p, "logprobs": []} for p in speech.pieces),
        {"type": "response.output_text.done", **place, "text": speech.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(speech.text)},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{_status(speech)}", "response": whole},
    ]
    return [named({**step, "sequence_number": number}) for number, step in enumerate(steps)]
