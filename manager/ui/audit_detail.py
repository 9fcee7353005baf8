"""The details of an event of the audit for people: what differs before and after, and what else is told."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "–"
_DEEPEST = 4
# What a list has room for.
_SUMMED_UP = 4


@dataclass(frozen=True)
class Difference:
    """A value by its name, with dots into what holds it: as it was and as it is; None where it was not."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Told:
    """Details: facts by name, and what differs. There may have been nothing before (it was made) or after (deleted)."""

    facts: Sequence[tuple[str, str]]
    differences: Sequence[Difference]
    has_before: bool
    has_after: bool


def told(detail: Any) -> Told:
    """Return what an event tells; `detail` may be anything that JSON can hold."""
    rest = dict(detail) if isinstance(detail, Mapping) else {"detail": detail}
    before, after = _taken(rest, "before"), _taken(rest, "after")
    if before and after is None and set(before) & set(rest):
        # What it is stands beside what it was.
        after, rest = rest, {}
    was, has_become = dict(_flat(before or {})), dict(_flat(after or {}))
    names = list(dict.fromkeys([*was, *has_become]))
    is_change = before is not None and after is not None
    differences = [
        Difference(name, was.get(name), has_become.get(name))
        for name in names
        if not is_change or was.get(name, NOTHING) != has_become.get(name, NOTHING)
    ]
    return Told(list(_flat(rest)), differences, before is not None, after is not None)


def summary(detail: Any) -> str:
    """Return in a line what an event is about.

    >>> summary({"before": {"name": "a"}, "after": {"name": "b"}}), summary({"job": "forget"}), summary({})
    ('name', 'job: forget', '')
    """
    found = told(detail)
    if found.has_before and found.has_after:
        names = [each.name for each in found.differences]
        more = f" and {len(names) - _SUMMED_UP} more" if len(names) > _SUMMED_UP else ""
        return ", ".join(names[:_SUMMED_UP]) + more
    known = [(each.name, each.after or each.before or NOTHING) for each in found.differences]
    words = [f"{name}: {' '.join(text.split())}" for name, text in [*found.facts, *known] if text != NOTHING]
    return ", ".join(words[:_SUMMED_UP])


def _taken(rest: dict[str, Any], name: str) -> Mapping[str, Any] | None:
    return rest.pop(name) if isinstance(rest.get(name), Mapping) else None


def _flat(values: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            yield from _flat(value, f"{path}.", depth + 1)
        else:
            yield path, _text(value)


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return "\n".join(_entry(each) for each in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _entry(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items() if each is not None)
    return _text(value)
