"""Reads and checks what a request asks for; every fault is the provider's 400."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from manager.mock_provider.errors import ProviderError, invalid, missing

MAX_CHOICES = 128
MAX_TOKENS = 1_000_000


class Question(NamedTuple):
    """One request: its ``fields``, the ``number`` in its ids, a stream's ``chunks`` (None: by words)."""

    fields: Mapping[str, Any]
    number: str
    chunks: int | None = None

    @property
    def model(self) -> str:
        """The model asked for; any name will do. Raises ProviderError 400 without one."""
        model = self.fields.get("model")
        if model is None or model == "":
            raise ProviderError(400, "you must provide a model parameter")
        if not isinstance(model, str):
            raise invalid("model", "a string")
        return model

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as SSE events."""
        return self.flag("stream")

    @property
    def include_usage(self) -> bool:
        """Whether the stream is to end with a usage chunk (``stream_options.include_usage``)."""
        return self._stream_option("include_usage")

    @property
    def include_obfuscation(self) -> bool:
        """Whether the chunks are padded (``stream_options.include_obfuscation``); here only if it is asked for."""
        return self._stream_option("include_obfuscation")

    def _stream_option(self, name: str) -> bool:
        options = self.fields.get("stream_options")
        if options is None:
            return False
        if not self.stream:
            raise invalid("stream_options", "to be set only when 'stream' is true")
        if not isinstance(options, dict):
            raise invalid("stream_options", "an object")
        return Question(options, self.number).flag(name)

    @property
    def choices(self) -> int:
        """How many answers to give (``n``, 1..128, default 1)."""
        return self.number_of("n", MAX_CHOICES) or 1

    def flag(self, name: str) -> bool:
        """A boolean that is false when absent or null."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid(name, "a boolean")
        return bool(value)

    def number_of(self, name: str, most: int = MAX_TOKENS) -> int | None:
        """A whole number 1..``most``, None when absent or null."""
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise invalid(name, f"a whole number from 1 to {most}")
        return value

    def required(self, name: str) -> Any:
        """The value of a parameter that has to be there. Raises ProviderError 400 when absent or null."""
        value = self.fields.get(name)
        if value is None:
            raise missing(name)
        return value

    def messages(self, name: str = "messages") -> list[Mapping[str, Any]]:
        """A non-empty list of objects, as chat messages are given."""
        messages = self.required(name)
        if not isinstance(messages, list) or not messages:
            raise invalid(name, "a non-empty array of objects")
        if any([not isinstance(message, dict) for message in messages]):
            raise invalid(name, "an array of nothing but objects")
        return messages


def texts_and_tokens(name: str, given: Any) -> tuple[list[str], int]:
    """The texts in ``given`` (a string, or an array of strings, tokens or token arrays) and their tokens."""
    if isinstance(given, str) or _is_tokens(given):
        given = [given]
    listed = isinstance(given, list) and bool(given)
    if not listed or not all(isinstance(text, str) or _is_tokens(text) for text in given):
        raise invalid(name, "a string, an array of strings, an array of tokens or an array of token arrays")
    texts = [text if isinstance(text, str) else " ".join(map(str, text)) for text in given]
    return texts, sum(len(text.split()) for text in texts)


def _is_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(token) is int for token in given)


def text_of(content: object) -> str:
    """The text of a message's content: a string, or the ``text`` of those of its parts that have one."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def last_said(messages: list[Mapping[str, Any]]) -> str:
    """The text of the last message whose role is "user", or of the last message at all."""
    asked = next((message for message in reversed(messages) if message.get("role") == "user"), messages[-1])
    return text_of(asked.get("content"))


def heard_tokens(messages: list[Mapping[str, Any]]) -> int:
    """Words in all messages: this provider's prompt tokens."""
    return sum([len(text_of(message.get("content")).split()) for message in messages])
