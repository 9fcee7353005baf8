"""What is asked of tokens: in the list's filters, for new ones, for changes and for another secret."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma

from manager import tokens
from manager.api.fields import Whole
from manager.api.token_shapes import Filters, NewToken, Refreshed, Revocation, TokenChanges, TokenQuery
from manager.ui import life
from manager.ui.forms import Blank, Choice, Field, Kind
from manager.ui.life import ChosenLife
from manager.ui.named_project import NamedProject, UtcMoment, project_field
from manager.ui.project_fields import POLICY
from shared.models import Scope

# How long an old secret works on.
GRACES = {"0": "End at once", "PT15M": "15 minutes", "PT1H": "1 hour", "P1D": "1 day", "P7D": "7 days"}


class _Typed(Filters):
    """Filters as people type them."""

    project_id = NamedProject()
    expires_before = UtcMoment()
    expires_after = UtcMoment()
    last_used_before = UtcMoment()
    last_used_after = UtcMoment()


class TokenSearch(_Typed, TokenQuery):
    """Which page, of which tokens."""


class WhichTokens(_Typed, Revocation):
    """Which tokens are revoked."""


class NewTokenForm(ChosenLife, NewToken):
    """What a token is made of, or several that differ by the number behind their label."""

    project_id = NamedProject(required=True)
    count = Whole(load_default=1, validate=ma.validate.Range(1, tokens.MOST_AT_ONCE))


class TokenChangesForm(ChosenLife, TokenChanges):
    """What is changed of a token."""


class RefreshForm(ChosenLife, Refreshed):
    """How long the old secret works, and a new life."""


def filters() -> Sequence[Field]:
    """Return the filters of the list."""
    states = [Choice("", "Any"), *(Choice(state.value, state.value.capitalize()) for state in tokens.State)]
    return (
        project_field(),
        Field("state", "State", kind=Kind.SELECT, choices=states),
        Field("label_contains", "Label contains"),
        Field("expires_after", "Expires from (UTC)", kind=Kind.DATETIME),
        Field("expires_before", "Expires before (UTC)", kind=Kind.DATETIME),
        Field("last_used_after", "Used from (UTC)", kind=Kind.DATETIME),
        Field("last_used_before", "Last used before, or never (UTC)", kind=Kind.DATETIME),
    )


LABEL = Field(
    "label", "Label", "What people call it, such as the job or person that it is for.",
    blank=Blank.EMPTY, attributes={"autocomplete": "off", "dir": "auto"},
)  # fmt: skip
_MOST = Field(
    "max_requests", "Most requests", "How many requests it is good for in all. Empty: any number.",
    Kind.NUMBER, blank=Blank.NULL,
)  # fmt: skip
_LIMITS = Field(
    "limits", "Limits", "Beside those of its project. Money is in US dollars; days and months are those of UTC.",
    Kind.LIMITS, scope=Scope.TOKEN,
)  # fmt: skip
# What is folded away: its title and the names of the fields in it.
FOLDS = (("What may be asked for", [field.name for field in POLICY]), ("Limits", ["limits"]))


def new_fields() -> Sequence[Field]:
    """Return what is asked for new tokens."""
    return (
        project_field(help="Its keys and rules are used. Type a name, or choose one."),
        LABEL,
        *life.fields("Lives for", "Then it ends by itself."),
        _MOST,
        Field(
            "count", "How many", f"Up to {tokens.MOST_AT_ONCE:,}; several get numbers behind the label.",
            Kind.NUMBER, required=True,
        ),
        *POLICY,
        _LIMITS,
    )  # fmt: skip


def change_fields(until: str) -> Sequence[Field]:
    """Return what is asked to change a token that lives until some moment."""
    active = Field("is_active", "Active", "Switch it off to have it refused for a while.", Kind.CHECKBOX)
    return (
        LABEL,
        active,
        *life.fields("Lives for", "From now on.", f"As it is: until {until}"),
        _MOST,
        *POLICY,
        _LIMITS,
    )


def refresh_fields(until: str, *, is_over: bool) -> Sequence[Field]:
    """Return what is asked to give a token another secret; one that is over needs a new life."""
    choices = [Choice(value, label) for value, label in GRACES.items()]
    said = "So that whoever uses it has time to change over."
    grace = Field("grace", "The old secret works on for", said, Kind.SELECT, choices, required=True)
    return grace, *life.fields("Lives for", "From now on.", "" if is_over else f"As it is: until {until}")


def numbered(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a body of many tokens, with labels that end in numbers, and how many they are; of one it is as it was."""
    count = body.pop("count")
    if count == 1:
        return body, 1
    width, label = len(str(count)), body.pop("label")
    return {**body, "labels": [f"{label} {number:0{width}}".strip() for number in range(1, count + 1)]}, count
