"""Bodies as conversations: requests and answers of the known APIs, whole or cut off, as JSON or as streams.

Nothing that is read here is trusted: any field may hold anything, and what is not understood is shown as it is,
abridged. Nothing is ever so long that it could not be shown.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any

from addons.dialects.conversation import chat, cut_json, embeddings, events, messages, responses
from addons.dialects.conversation.plain import brief, fields, items, number, plain, pretty, text, word
from addons.dialects.conversation.turns import Block, Conversation, Kind, Turn

__all__ = ["Block", "Conversation", "Kind", "Topic", "Turn", "of_answer", "of_request", "topic_of"]

# Of longer bodies the start is read.
MOST_READ = 2 << 20
MOST_FACTS = 40
MOST_TOOLS = 50


class Topic(StrEnum):
    """Which API a body belongs to."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"


_BY_ROUTE = {
    "chat.completions": Topic.CHAT,
    "chat.completions.one": Topic.CHAT,
    "completions": Topic.COMPLETIONS,
    "responses": Topic.RESPONSES,
    "responses.one": Topic.RESPONSES,
    "responses.compact": Topic.RESPONSES,
    "responses.cancel": Topic.RESPONSES,
    "responses.input_tokens": Topic.RESPONSES,
    "messages": Topic.MESSAGES,
    "messages.count_tokens": Topic.MESSAGES,
    "embeddings": Topic.EMBEDDINGS,
}
_BY_PATH = {
    "chat/completions": Topic.CHAT,
    "completions": Topic.COMPLETIONS,
    "responses": Topic.RESPONSES,
    "messages": Topic.MESSAGES,
    "embeddings": Topic.EMBEDDINGS,
}
# Behind a version, a deployment's name, or nothing: /v1/threads/1/messages are others.
_PATH = re.compile(
    r"(?:.{0,200}/(?:v\d[\w.]{0,20}|deployments/[^/]{1,100}))?/(chat/completions|completions|responses|messages|embeddings)"
    r"(?:/count_tokens|/input_tokens|/compact)?/?"
)


def topic_of(route: str, path: str) -> Topic | None:
    """Return the API of a route's name, or of a path without its query; None for every other one."""
    if route in _BY_ROUTE:
        return _BY_ROUTE[route]
    found = _PATH.fullmatch(path) if len(path) < 500 else None
    return _BY_PATH[found[1]] if found else None


Turns = Callable[[dict[str, Any]], list[Turn]]


@dataclass(frozen=True, slots=True)
class _Reading:
    """How bodies of one API are read. `joined` makes one document of a stream's events."""

    asked: Turns
    answered: Turns
    ending: Callable[[dict[str, Any]], str]
    joined: Callable[[Iterable[dict[str, Any]]], dict[str, Any]]


def _reading(room: ModuleType) -> _Reading:
    return _Reading(room.asked, room.answered, room.ending, room.joined)


_READINGS = {
    Topic.CHAT: _reading(chat),
    Topic.COMPLETIONS: _Reading(chat.prompted, chat.answered, chat.ending, chat.joined),
    Topic.RESPONSES: _reading(responses),
    Topic.MESSAGES: _reading(messages),
    Topic.EMBEDDINGS: _reading(embeddings),
}


def of_request(topic: Topic, body: bytes) -> Conversation:
    """Return what a request says. Raises ValueError for what is no JSON object."""
    found, is_cut = cut_json.read(body[:MOST_READ])
    document = _object(found)
    turns = _READINGS[topic].asked(document)
    facts = _settings(document)
    return Conversation(tuple(turns), facts, rest="" if turns else pretty(document), is_cut=is_cut)


def of_answer(topic: Topic, body: bytes, content_type: str = "") -> Conversation:
    """Return what an answer says. Raises ValueError for what is neither a JSON object nor a stream of events."""
    reading = _READINGS[topic]
    document, is_cut = _answer(reading, body[:MOST_READ], content_type)
    turns = reading.answered(document)
    error, usage = _error(document), _usage(fields(document.get("usage")))
    rest = "" if turns or error or not document else pretty(document)
    return Conversation(tuple(turns), _model(document), usage, reading.ending(document), error, rest, is_cut)


def _answer(reading: _Reading, body: bytes, content_type: str) -> tuple[dict[str, Any], bool]:
    if not events.is_stream(content_type, body):
        found, is_cut = cut_json.read(body)
        return _object(found), is_cut
    told, is_cut = events.read(body)
    if not told and not events.may_begin(body):
        found, is_cut = cut_json.read(body)  # An error may come as JSON, whatever the head says.
        return _object(found), is_cut
    return (reading.joined(told) if told else {}), is_cut


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


# What is told in other places.
_TOLD = ("messages", "input", "prompt", "suffix", "instructions", "system", "tools", "functions")


def _settings(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    names = [name for name, value in document.items() if name not in _TOLD and value is not None]
    names.sort(key=lambda name: name != "model")
    settings = [(word(name), brief(document[name])) for name in names[:MOST_FACTS]]
    tools = [_tool(fields(tool)) for tool in items(document.get("tools")) + items(document.get("functions"))]
    named = ", ".join(tools[:MOST_TOOLS]) + (f" and {len(tools) - MOST_TOOLS} more" if len(tools) > MOST_TOOLS else "")
    return (*settings, *([("tools", named)] if tools else ()))


def _tool(tool: dict[str, Any]) -> str:
    inner = fields(tool.get("function")) or fields(tool.get("custom"))
    return word(tool.get("name"), 60) or word(inner.get("name"), 60) or word(tool.get("type"), 60) or "unnamed"


def _model(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (("model", word(document["model"])),) if text(document.get("model")) else ()


def _usage(told: dict[str, Any], before: str = "", nested: int = 2) -> tuple[tuple[str, int], ...]:
    """Return the counts of a usage, named as the provider does; those that are zero say nothing."""
    counts: list[tuple[str, int]] = []
    for name, value in told.items():
        if isinstance(value, dict) and nested > 0:
            counts += _usage(value, f"{before}{word(name, 60)}.", nested - 1)
        elif number(value):
            counts.append((before + word(name, 60), number(value)))
    return tuple(counts[:MOST_FACTS])


def _error(document: dict[str, Any]) -> str:
    """Return a provider's error, or ours, in a line or more."""
    error = document.get("error")
    if isinstance(error, str):
        return plain(error)
    told = fields(error)
    if not told:
        return ""
    names = [word(told.get(name)) for name in ("type", "code") if text(told.get(name))]
    about = f" ({word(told['param'])})" if text(told.get("param")) else ""
    message = plain(told.get("message"))
    return " ".join(dict.fromkeys(names)) + about + (f": {message}" if message else "") or pretty(told)
