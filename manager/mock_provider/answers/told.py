"""What an answer says that it used."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

_DATA = b"data: "


class Used(NamedTuple):
    """Tokens of prompt and completion."""

    prompt_tokens: int
    completion_tokens: int


def used_in(answer: bytes | Sequence[bytes]) -> Used | None:
    """The usage in a JSON body, or in the events of a stream, of which later ones win; None if there is none."""
    counts: dict[str, Any] = {}
    for told in [orjson.loads(answer)] if isinstance(answer, bytes) else _told_in(answer):
        for place in (told, told.get("message"), told.get("response")):
            counts |= (isinstance(place, dict) and place.get("usage")) or {}
    prompt = _first(counts, "prompt_tokens", "input_tokens")
    return None if prompt is None else Used(prompt, _first(counts, "completion_tokens", "output_tokens") or 0)


def _told_in(events: Sequence[bytes]) -> Iterator[Mapping[str, Any]]:
    for event in events:
        for line in event.splitlines():
            if line.startswith(_DATA + b"{"):
                yield orjson.loads(line.removeprefix(_DATA))


def _first(counts: Mapping[str, int], *names: str) -> int | None:
    return next((counts[name] for name in names if name in counts), None)
