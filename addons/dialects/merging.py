"""Makes of the many events of a stream few: what is said piece by piece stands whole in the first event of its series.

So a text can be looked through as its readers will see it, and nothing hides between two events. Series are told by
their shape: choices of chats and completions, content blocks of Anthropic's messages, deltas of the Responses API.
Other events stay as they are and where they are.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_LINE_END = re.compile(r"\r\n|\n|\r")
# Of a delta, what is not said in pieces; and what says nothing.
_NOT_IN_PIECES = frozenset({"role", "type", "id", "call_id", "status"})
_IDLE = frozenset({"obfuscation", "logprobs"})
_SERIES_OF_RESPONSES = ("type", "item_id", "output_index", "content_index", "summary_index")

type Document = dict[str, Any]


class Pieces(list[str]):
    """A text that is not yet joined."""


@dataclass(slots=True)
class Event:
    """One event: its data, as JSON too if it is an object, and its other lines.

    Once it `is_changed`, what counts is the document, if there is one.
    """

    lines: list[str]
    text: str
    document: Document | None = None
    is_changed: bool = False


def events_of(stream: str) -> tuple[list[Event], str]:
    """Return the whole events of a stream, and what comes after them."""
    events, lines, at = [], [], 0
    start = 0
    for end in _LINE_END.finditer(stream):
        line = stream[at : end.start()]
        at = end.end()
        if line:
            lines.append(line)
        else:
            start = at
            if lines:
                events.append(_event(lines))
                lines = []
    return events, stream[start:]


def _event(lines: list[str]) -> Event:
    values = [line[6:] if line.startswith("data: ") else line[5:] for line in lines if line.startswith("data:")]
    text = "\n".join(values)
    try:
        document = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        document = None
    return Event([line for line in lines if not line.startswith("data:")], text, document)


def merged(events: list[Event]) -> list[Event]:
    """Return the events with each series in its first one, as Pieces."""
    merger = _Merger()
    return [event for event in events if merger.keeps(event)]


def joined(event: Event, finish: Callable[[str], str]) -> str:
    """Return the data of an event, with what `finish` makes of each text that came in pieces."""
    if not event.is_changed or event.document is None:
        return event.text
    return json.dumps(_joined(event.document, finish), ensure_ascii=False)


def _joined(value: Any, finish: Callable[[str], str]) -> Any:
    if isinstance(value, Pieces):
        return finish("".join(value))
    if isinstance(value, dict):
        return {name: _joined(inner, finish) for name, inner in value.items()}
    return [_joined(inner, finish) for inner in value] if isinstance(value, list) else value


def written(event: Event, text: str) -> str:
    """Return an event as it is written, with other data."""
    lines = [*event.lines, *(f"data: {line}" for line in _LINE_END.split(text))] if text else event.lines
    return "".join(f"{line}\n" for line in lines) + "\n"


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Give each text in a document: the names on the way to it, what holds it, and where in there."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        below = (*path, key) if isinstance(key, str) else path
        if isinstance(inner, str):
            yield below, value, key
        else:
            yield from leaves(inner, below)


@dataclass(slots=True)
class _Merger:
    _series: dict[object, Document] = field(default_factory=dict)

    def keeps(self, event: Event) -> bool:
        """Take an event into its series, unless it is the first one, or is of none."""
        document = event.document
        if document is None:
            return True
        key, merge = _series_of(document)
        if merge is None:
            return True
        is_first = key not in self._series
        base = self._series.setdefault(key, {})
        merge(base, document)
        if is_first:
            event.document, event.is_changed = base, True
        return is_first


type Merge = Callable[[Document, Document], None]


def _series_of(document: Document) -> tuple[object, Merge | None]:
    choices, kind, delta = document.get("choices"), document.get("type"), document.get("delta")
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        return "choices", _merge_choices
    if kind == "content_block_delta" and isinstance(delta, dict):
        return ("block", str(document.get("index")), str(delta.get("type"))), _merge_delta
    if isinstance(kind, str) and isinstance(delta, str):
        return tuple(str(document.get(name)) for name in _SERIES_OF_RESPONSES), _merge_text
    return None, None


def _merge_choices(base: Document, document: Document) -> None:
    for name, value in document.items():
        if name == "choices":
            into = base.setdefault("choices", [])
            for choice in value:
                _merge_choice(_entry(into, choice.get("index")), choice)
        elif value is not None and name not in _IDLE:
            base[name] = value


def _merge_choice(into: Document, choice: Document) -> None:
    for name, value in choice.items():
        if name == "delta" and isinstance(value, dict):
            _add(_inner(into, name), value)
        elif name == "text" and isinstance(value, str):
            _say(into, name, value)
        elif name not in _IDLE and (value is not None or name not in into):
            into[name] = value


def _merge_delta(base: Document, document: Document) -> None:
    base |= {name: value for name, value in document.items() if name != "delta"}
    _add(_inner(base, "delta"), document["delta"])


def _merge_text(base: Document, document: Document) -> None:
    base |= {name: value for name, value in document.items() if name != "delta" and name not in _IDLE}
    _say(base, "delta", document["delta"])


def _add(into: Document, delta: Document) -> None:
    for name, value in delta.items():
        if isinstance(value, str) and name not in _NOT_IN_PIECES:
            _say(into, name, value)
        elif isinstance(value, dict):
            _add(_inner(into, name), value)
        elif isinstance(value, list):
            _add_entries(into, name, value)
        elif name not in _IDLE and (value is not None or name not in into):
            into[name] = value


def _inner(into: Document, name: str) -> Document:
    if not isinstance(into.get(name), dict):
        into[name] = {}
    return into[name]  # type: ignore[no-any-return]


def _add_entries(into: Document, name: str, entries: list[Any]) -> None:
    known = into.get(name)
    if not isinstance(known, list) or isinstance(known, Pieces):
        known = into[name] = []
    for entry in entries:
        if isinstance(entry, dict) and "index" in entry:
            _add(_entry(known, entry["index"]), entry)
        else:
            known.append(entry)


def _entry(entries: list[Any], index: object) -> Document:
    """Return the entry of this index; there are few of them."""
    for entry in entries:
        if isinstance(entry, dict) and entry.get("index") == index:
            return entry
    entries.append({"index": index})
    return entries[-1]  # type: ignore[no-any-return]


def _say(into: Document, name: str, piece: str) -> None:
    known = into.get(name)
    if not isinstance(known, Pieces):
        known = into[name] = Pieces()
    if name != "name" or known != [piece]:  # Some say the name of a function again each time.
        known.append(piece)
