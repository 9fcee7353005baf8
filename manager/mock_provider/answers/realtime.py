"""The Realtime API, as far as a conversation in text needs it: what the server says to each event of the client."""

from collections.abc import Mapping
from typing import Any

import orjson

from manager.mock_provider.answers.question import text_of
from manager.mock_provider.answers.speech import Speech, say

_ACKNOWLEDGED = {
    "session.update": "session.updated",
    "conversation.item.create": "conversation.item.created",
    "conversation.item.delete": "conversation.item.deleted",
    "conversation.item.truncate": "conversation.item.truncated",
    "input_audio_buffer.commit": "input_audio_buffer.committed",
    "input_audio_buffer.clear": "input_audio_buffer.cleared",
}


class Conversation:
    """One session, without its connection: events in, events out. ``number`` is in its ids; chunks as in a stream."""

    def __init__(self, model: str, number: int, chunks: int | None = None) -> None:
        self._model = model
        self._number = number
        self._chunks = chunks
        self._heard = ""
        self._tokens = 0
        self._events = 0
        self._responses = 0

    def opening(self) -> bytes:
        """The event that greets the client."""
        return self._event({"type": "session.created", "session": self._session()})

    def reactions(self, event: Mapping[str, Any]) -> list[bytes]:
        """A whole response to ``response.create``; one event that acknowledges any other."""
        if event["type"] == "response.create":
            return [self._event(step) for step in self._response(event.get("response"))]
        self._listen([event.get("item")])
        return [self._event(self._acknowledgement(event))]

    def fault(self, message: str) -> bytes:
        """The event for one that cannot be understood."""
        error = {"type": "invalid_request_error", "code": "invalid_event", "message": message, "param": None}
        return self._event({"type": "error", "error": error})

    def _event(self, fields: dict[str, Any]) -> bytes:
        self._events += 1
        return orjson.dumps({"event_id": f"event_mock_{self._number}_{self._events}", **fields})

    def _session(self) -> dict[str, Any]:
        head = {"type": "realtime", "object": "realtime.session", "id": f"sess_mock_{self._number}"}
        return {**head, "model": self._model, "output_modalities": ["text"]}

    def _acknowledgement(self, event: Mapping[str, Any]) -> dict[str, Any]:
        kind = _ACKNOWLEDGED.get(event["type"])
        if kind is None:
            return {"type": "mock.acknowledged", "received": event["type"]}
        if kind == "session.updated":
            return {"type": kind, "session": self._session()}
        return {"type": kind, **{name: event[name] for name in ("item", "item_id") if name in event}}

    def _listen(self, items: list[Any]) -> None:
        for item in items:
            text = text_of(item.get("content")) if isinstance(item, dict) else ""
            self._tokens += len(text.split())
            self._heard = text or self._heard

    def _response(self, asked: Any) -> list[dict[str, Any]]:
        """The events of one response, in order; all said so far are its input tokens."""
        items = asked.get("input") if isinstance(asked, dict) else None
        self._listen(items if isinstance(items, list) else [])
        self._responses += 1
        speech = say(self._heard, chunks=self._chunks)
        steps = _steps(f"{self._number}_{self._responses}", speech, _usage(self._tokens, speech.tokens))
        self._tokens += speech.tokens
        return steps


def _usage(heard: int, said: int) -> dict[str, Any]:
    return {
        "total_tokens": heard + said,
        "input_tokens": heard,
        "output_tokens": said,
        "input_token_details": {"text_tokens": heard, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": said, "audio_tokens": 0},
    }


def _steps(number: str, speech: Speech, usage: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"object": "realtime.response", "id": f"resp_mock_{number}", "status_details": None}
    begun: dict[str, Any] = {**head, "status": "in_progress", "output": [], "usage": None}
    item = {"id": f"item_mock_{number}", "object": "realtime.item", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": speech.text}
    place = {"response_id": head["id"], "output_index": 0}
    inner = {**place, "item_id": item["id"], "content_index": 0}
    whole = {**item, "status": "completed", "content": [part]}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", **place, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **inner, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **inner, "delta": piece} for piece in speech.pieces),
        {"type": "response.output_text.done", **inner, "text": speech.text},
        {"type": "response.content_part.done", **inner, "part": part},
        {"type": "response.output_item.done", **place, "item": whole},
        {"type": "response.done", "response": {**head, "status": "completed", "output": [whole], "usage": usage}},
    ]
