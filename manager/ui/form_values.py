"""Values between a form and a body: what was sent becomes what the API would be sent, and the other way round."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import marshmallow as ma
from werkzeug.datastructures import MultiDict

from manager.ui.form_fields import Blank, Field, Kind


class _LeftOut:
    """What is not sent at all."""


LEFT_OUT: Final = _LeftOut()
PARTS = ("measure", "window", "amount", "burst", "on_outage")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_BARE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_LISTS = (Kind.TAGS, Kind.CHOICES, Kind.LIMITS, Kind.PAIRS)

type Sent = MultiDict[str, str]
type Rule = ma.fields.Field[Any]


def read(field: Field, sent: Sent, rule: Rule) -> Any:
    """Return what a field says in a body, LEFT_OUT if it is not to be in there.

    What is no number, truth value or moment stays the text that it is: the schema says what is wrong with it.
    """
    if field.kind is Kind.CHECKBOX:
        return field.name in sent
    if field.kind in _LISTS:
        found = _entries(field, sent)
        return None if not found and field.blank is Blank.NULL else found
    text = sent.get(field.name, "").replace("\r\n", "\n")
    text = text if field.kind is Kind.TEXTAREA else text.strip()
    if not text.strip():
        return {Blank.LEFT_OUT: LEFT_OUT, Blank.NULL: None, Blank.EMPTY: ""}[field.blank]
    if field.kind is Kind.DATETIME:
        return in_utc(text)
    if field.kind is Kind.SELECT and isinstance(rule, ma.fields.Boolean):
        return {"true": True, "false": False}.get(text, text)
    is_number = field.kind is Kind.NUMBER or (field.kind is Kind.SELECT and isinstance(rule, ma.fields.Number))
    return _number(text) if is_number else text


def in_utc(text: str) -> str:
    """Return a moment as browsers send it, without a zone, as one in UTC; any other text as it is.

    >>> in_utc("2026-05-04T10:20"), in_utc("2026-05-04T10:20:30+02:00")
    ('2026-05-04T10:20Z', '2026-05-04T10:20:30+02:00')
    """
    return f"{text}Z" if _BARE.fullmatch(text) else text


def shown(field: Field, values: Mapping[str, Any]) -> Any:
    """Return what is in a field of something that there is: a text, a truth value, texts, or rows of limits."""
    found: Any = values
    for name in field.name.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if field.kind is Kind.CHECKBOX:
        return bool(found)
    if field.kind is Kind.LIMITS:
        return [{part: _text(row.get(part)) for part in PARTS} for row in found or ()]
    if field.kind is Kind.CHOICES:
        return [_text(each) for each in found or ()]
    if field.kind is Kind.TAGS:
        return "\n".join(found or ())
    if field.kind is Kind.PAIRS:
        return "\n".join(f"{name} = {_text(value)}" for name, value in (found or {}).items())
    return "" if field.kind is Kind.PASSWORD else _text(found)


def as_sent(field: Field, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a form sends of a field if nobody touches it."""
    found = shown(field, values)
    if field.kind is Kind.CHECKBOX:
        yield from [(field.name, "on")] if found else []
    elif field.kind is Kind.LIMITS:
        yield from ((f"{field.name}-{n}-{part}", row[part]) for n, row in enumerate(found) for part in PARTS)
    elif field.kind is Kind.CHOICES:
        yield from ((field.name, each) for each in found)
    else:
        yield field.name, found


def told(field: Field, values: Mapping[str, Any]) -> str:
    """Return what there is in words, to be compared with what somebody typed."""
    found = shown(field, values)
    if field.kind is Kind.CHECKBOX:
        return "yes" if found else "no"
    if field.kind is Kind.LIMITS:
        return "\n".join(" ".join(filter(None, row.values())) for row in found)
    if field.kind is Kind.CHOICES:
        return "\n".join(found)
    labels = {choice.value: choice.label for choice in field.choices}
    return str(labels.get(found, found))


def sent_back(field: Field, sent: Sent) -> Any:
    """Return what is in a field of a form that was sent and is shown again."""
    if field.kind is Kind.CHECKBOX:
        return field.name in sent
    if field.kind is Kind.LIMITS:
        return _rows(field.name, sent)
    if field.kind is Kind.CHOICES:
        return sent.getlist(field.name)
    if field.kind is Kind.DATETIME:
        return _minute(sent.get(field.name, ""))
    return "" if field.kind is Kind.PASSWORD else sent.get(field.name, "").replace("\r\n", "\n")


def _entries(field: Field, sent: Sent) -> Any:
    if field.kind is Kind.LIMITS:
        return [_limit(row) for row in _rows(field.name, sent)]
    if field.kind is Kind.CHOICES:
        return [value for value in sent.getlist(field.name) if value]
    lines = [line.strip() for line in sent.get(field.name, "").splitlines() if line.strip()]
    if field.kind is Kind.TAGS:
        return lines
    pairs = [line.partition("=") for line in lines]
    return {name.strip(): _number(value.strip()) for name, _, value in pairs}


def _rows(name: str, sent: Sent) -> Sequence[dict[str, str]]:
    """Return the rows of a list of limits that have something in them, in their order."""
    named = re.compile(rf"{re.escape(name)}-([0-9]{{1,4}})-({'|'.join(PARTS)})")
    rows: dict[int, dict[str, str]] = {}
    for key, value in sent.items():
        if found := named.fullmatch(key):
            rows.setdefault(int(found[1]), dict.fromkeys(PARTS, ""))[found[2]] = value.strip()
    return [row for _, row in sorted(rows.items()) if row["measure"] or row["amount"] or row["burst"]]


def _limit(row: Mapping[str, str]) -> dict[str, Any]:
    limit: dict[str, Any] = {part: row[part] for part in ("measure", "window", "on_outage") if row[part]}
    if row["amount"]:
        limit["amount"] = row["amount"] if row["measure"] == "cost" else _number(row["amount"])
    return limit | ({"burst": _number(row["burst"])} if row["burst"] else {})


def _minute(text: str) -> str:
    """Return a moment as a form has it, however it was written; what is none stays as it is."""
    try:
        found = datetime.fromisoformat(text)
        return _text(found) if found.tzinfo else text
    except (OverflowError, ValueError):
        return text


def _number(text: str) -> int | float | str:
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        found = float(text)
    except ValueError:
        return text
    return found if math.isfinite(found) else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
