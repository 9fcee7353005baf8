"""How each API is asked for an answer, and what its events say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from manager.cli.chat.conversation import Attachment, Conversation, Turn


@dataclass(frozen=True)
class Heard:
    """What one event says: a piece of text, and counts of tokens as far as it tells any."""

    text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Dialect(Protocol):
    """One API."""

    path: str

    def headers(self, token: str) -> dict[str, str]:
        """Return how the token is shown."""

    def body(self, conversation: Conversation, model: str, most_tokens: int | None) -> dict[str, Any]:
        """Return what is asked, for a stream."""

    def hear(self, event: Mapping[str, Any]) -> Heard:
        """Read one event."""


class OpenAi:
    """Chat completions, which most providers have."""

    path = "/v1/chat/completions"

    def headers(self, token: str) -> dict[str, str]:
        """Return how the token is shown."""
        return {"authorization": f"Bearer {token}"}

    def body(self, conversation: Conversation, model: str, most_tokens: int | None) -> dict[str, Any]:
        """Return what is asked, for a stream."""
        messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
        messages += [{"role": turn.role, "content": self._content(turn)} for turn in conversation.turns]
        asked = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        return asked | ({"max_completion_tokens": most_tokens} if most_tokens else {})

    def hear(self, event: Mapping[str, Any]) -> Heard:
        """Read one event."""
        usage = event.get("usage") or {}
        deltas = [choice.get("delta") or {} for choice in event.get("choices") or ()]
        text = "".join(delta.get("content") or delta.get("refusal") or "" for delta in deltas)
        return Heard(text, usage.get("prompt_tokens"), usage.get("completion_tokens"))

    def _content(self, turn: Turn) -> Any:
        if not turn.attachments:
            return turn.text
        parts: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
        return [*parts, *map(self._part, turn.attachments)]

    def _part(self, attachment: Attachment) -> dict[str, Any]:
        url = f"data:{attachment.kind};base64,{attachment.base64}"
        if attachment.is_image:
            return {"type": "image_url", "image_url": {"url": url}}
        if attachment.kind.startswith("text/"):
            return _as_text(attachment)
        return {"type": "file", "file": {"filename": attachment.name, "file_data": url}}


class Anthropic:
    """Messages."""

    path = "/v1/messages"

    def headers(self, token: str) -> dict[str, str]:
        """Return how the token is shown."""
        return {"x-api-key": token, "anthropic-version": "2023-06-01"}

    def body(self, conversation: Conversation, model: str, most_tokens: int | None) -> dict[str, Any]:
        """Return what is asked, for a stream."""
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in conversation.turns]
        asked: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "stream": True,
            "max_tokens": most_tokens or 4096,
        }
        return asked | ({"system": conversation.system} if conversation.system else {})

    def hear(self, event: Mapping[str, Any]) -> Heard:
        """Read one event."""
        delta = event.get("delta") or {}
        usage = event.get("usage") or (event.get("message") or {}).get("usage") or {}
        return Heard(delta.get("text") or "", usage.get("input_tokens"), usage.get("output_tokens"))

    def _content(self, turn: Turn) -> Any:
        if not turn.attachments:
            return turn.text
        return [*map(self._part, turn.attachments), {"type": "text", "text": turn.text}]

    def _part(self, attachment: Attachment) -> dict[str, Any]:
        if attachment.kind.startswith("text/"):
            return _as_text(attachment)
        source = {"type": "base64", "media_type": attachment.kind, "data": attachment.base64}
        return {"type": "image" if attachment.is_image else "document", "source": source}


def _as_text(attachment: Attachment) -> dict[str, Any]:
    return {"type": "text", "text": f"{attachment.name}:\n\n{attachment.content.decode(errors='replace')}"}


DIALECTS: dict[str, Dialect] = {"openai": OpenAi(), "anthropic": Anthropic()}
