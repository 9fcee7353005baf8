"""How long a token shall live: one of some usual spans, another one, or until a moment."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import marshmallow as ma

from manager.current import now, services
from manager.ui.forms import Choice, Field, Kind
from shared import durations

USUAL = {"PT15M": "15 minutes", "PT1H": "1 hour", "P1D": "1 day", "P7D": "7 days", "P30D": "30 days"}
FOR, UNTIL = "for", "until"
_WAYS = {FOR: "expires_in", UNTIL: "expires_at"}
_SPAN = "Whole seconds, or ISO 8601 such as PT90M, PT12H or P3D."


class ChosenLife(ma.Schema):
    """A part of a schema of the API that has `expires_in` and `expires_at`: `life` says which of them counts."""

    life = ma.fields.String(validate=ma.validate.OneOf([*USUAL, *_WAYS]), load_only=True)

    def load(self, data: Any, **how: Any) -> Any:
        """Load a body in which only that is left which was chosen."""
        loaded = super().load(chosen(data), **how)
        loaded.pop("life", None)
        return loaded


def chosen(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body that says once how long something lives; what was not chosen is left out.

    >>> chosen({"life": "P1D", "expires_in": "P3D", "label": "nightly"})
    {'life': 'P1D', 'label': 'nightly', 'expires_in': 'P1D'}
    >>> chosen({"life": "until", "expires_in": "P3D"})
    {'life': 'until', 'expires_at': None}
    """
    life = body.get("life", "")
    if life not in USUAL and life not in _WAYS:
        return dict(body)
    rest = {name: value for name, value in body.items() if name not in _WAYS.values()}
    return rest | ({"expires_in": life} if life in USUAL else {_WAYS[life]: body.get(_WAYS[life])})


def fields(label: str, help: str = "", unchanged: str = "") -> Sequence[Field]:
    """Return what asks for a life; `unchanged` is what it is called to say nothing, without which that cannot be."""
    longest = services().settings.max_token_lifetime
    choices = [Choice(value, name) for value, name in USUAL.items() if durations.parse(value) <= longest]
    choices += [Choice(FOR, "Another time span…"), Choice(UNTIL, "Until a moment…")]
    if unchanged:
        choices.insert(0, Choice("", unchanged))
    most = f"At most {in_words(longest)}."
    last = (now() + longest).strftime("%Y-%m-%dT%H:%M")
    return (
        Field("life", label, f"{help} {most}".strip(), Kind.SELECT, choices, required=not unchanged),
        Field("expires_in", "Time span", _SPAN, attributes={"placeholder": "PT12H", "autocomplete": "off"}),
        Field("expires_at", "Moment (UTC)", "In UTC.", Kind.DATETIME, attributes={"max": last}),
    )


def in_words(span: timedelta) -> str:
    """Return a time span for people.

    >>> in_words(timedelta(days=365)), in_words(timedelta(hours=1)), in_words(timedelta(minutes=90))
    ('365 days', '1 hour', '90 minutes')
    """
    seconds = int(span.total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length:,} {unit}{'' if seconds == length else 's'}"
    return f"{seconds:,} second{'' if seconds == 1 else 's'}"
