"""What is wrong with a body, at the fields of the form that it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from manager.ui.form_fields import Field, Kind

# What marshmallow says, in other words than those of programmers.
_SAID = {
    "Missing data for required field.": "Please fill this in.",
    "Field may not be null.": "Please fill this in.",
    "Not a valid boolean.": "Choose one of those in the list.",
    "Not a valid integer.": "Enter a whole number.",
    "Not a valid number.": "Enter a number.",
    "Not a valid UUID.": "That is not an id.",
    "Not a valid datetime.": "Enter a day and a time.",
}


@dataclass
class Faults:
    """Reasons by field, and those that belong to none."""

    by_field: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def of_schema(fields: Mapping[str, Field], messages: Any) -> Faults:
    """Sort what a schema says, however deep."""
    found = Faults()
    for path, reason in _flat(messages, ()):
        said = _SAID.get(reason, reason)
        name, rest = _place(fields, path)
        if name:
            found.by_field.setdefault(name, []).append(_within(fields[name], rest, said))
        else:
            words = ".".join(str(part) for part in path if part != "_schema")
            found.others.append(f"{words}: {said}" if words else said)
    return found


def of_domain(fields: Mapping[str, Field], name: str, reason: str) -> Faults:
    """Sort what the domain says of a part of a body; it may name a part of that first, as in `denied_models: …`."""
    if name in fields:
        return Faults({name: [reason]})
    part, _, rest = reason.partition(": ")
    if f"{name}.{part}" in fields:
        return Faults({f"{name}.{part}": [rest]})
    return Faults(others=[reason])


def _flat(messages: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(messages, Mapping):
        for name, each in messages.items():
            yield from _flat(each, (*path, name))
    elif isinstance(messages, list):
        for each in messages:
            yield from _flat(each, path)
    else:
        yield path, str(messages)


def _place(fields: Mapping[str, Field], path: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Return the field that a path leads to or into, and the rest of the path."""
    for length in range(len(path), 0, -1):
        name = ".".join(map(str, path[:length]))
        if name in fields:
            return name, path[length:]
    return "", path


def _within(known: Field, rest: tuple[Any, ...], reason: str) -> str:
    names = [part for part in rest if part not in ("_schema", "key", "value")]
    if not names:
        return reason
    word = {Kind.TAGS: "Line", Kind.LIMITS: "Entry"}.get(known.kind, "")
    first = f"{word} {names[0] + 1}" if isinstance(names[0], int) else str(names[0])
    return f"{', '.join([first.strip(), *map(str, names[1:])])}: {reason}"
