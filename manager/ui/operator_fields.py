"""What is asked of operators: for new ones, and for changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import marshmallow as ma

from manager import operators
from manager.api.operators import NewOperator, OperatorChanges
from manager.principals import Role
from manager.ui.forms import Blank, Choice, Field, Kind
from manager.ui.named_project import NamedProject

# What each role may do, in words.
ROLES = {
    Role.AUDITOR: "may look at everything, and change nothing",
    Role.OPERATOR: "may also make and change projects, keys and tokens",
    Role.ADMIN: "may also do what is about everybody: operators, prices, limits of everything, where keys are sent",
}
USUAL = {"P30D": "30 days", "P90D": "90 days", "P365D": "365 days"}
FOR_GOOD, FOR = "good", "for"


class _Chosen(ma.Schema):
    """A part of a schema of the API that has `expires_in`: `life` says it in the words of the form."""

    life = ma.fields.String(validate=ma.validate.OneOf([FOR_GOOD, FOR, *USUAL]), load_only=True)

    def load(self, data: Any, **how: Any) -> Any:
        """Load a body in which only that is left which was chosen."""
        loaded = super().load(chosen(data), **how)
        loaded.pop("life", None)
        return loaded


class NewOperatorForm(_Chosen, NewOperator):
    """What an operator is made of."""

    project_ids = ma.fields.List(NamedProject(), allow_none=True, load_default=None)


class OperatorChangesForm(_Chosen, OperatorChanges):
    """What is changed of an operator."""

    project_ids = ma.fields.List(NamedProject(), allow_none=True)


def chosen(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body whose `expires_in` is what was chosen.

    >>> chosen({"life": "P30D", "expires_in": "P3D"}), chosen({"life": "good"})
    ({'life': 'P30D', 'expires_in': 'P30D'}, {'life': 'good', 'expires_in': None})
    """
    life = body.get("life", "")
    spans = {FOR_GOOD: None, FOR: body.get("expires_in", ""), **{usual: usual for usual in USUAL}}
    return {**body, "expires_in": spans[life]} if life in spans else dict(body)


def new_fields() -> Sequence[Field]:
    """Return what is asked for a new operator."""
    name = Field(
        "name", "Name", "The audit tells by it who did something. It stays for good, and is nobody else's.",
        blank=Blank.EMPTY, attributes={"autocomplete": "off", "dir": "auto"},
    )  # fmt: skip
    return name, *_common(), *_life("Its token ends then.")


def change_fields(until: str) -> Sequence[Field]:
    """Return what is asked to change an operator whose token works until then."""
    return *_common(), *_life("From now on.", f"As it is: {until}")


def _common() -> Sequence[Field]:
    roles = [Choice(role.value, f"{role.value.capitalize()}: {words}") for role, words in ROLES.items()]
    projects = (
        "One in each line, by its name. Empty: all of them. An admin always sees all."
        f" At most {operators.MOST_PROJECTS}."
    )
    return (
        Field("role", "Role", "What it may do.", Kind.SELECT, roles),
        Field("project_ids", "Only these projects", projects, Kind.TAGS, blank=Blank.NULL, attributes={"dir": "auto"}),
    )


def _life(help: str, unchanged: str = "") -> Sequence[Field]:
    choices = [Choice(FOR_GOOD, "Until it is revoked"), *(Choice(value, name) for value, name in USUAL.items())]
    choices.append(Choice(FOR, "Another time span…"))
    if unchanged:
        choices.insert(0, Choice("", unchanged))
    span = "Whole seconds, or ISO 8601 such as PT12H or P14D."
    return (
        Field("life", "Works", help, Kind.SELECT, choices, required=not unchanged),
        Field("expires_in", "Time span", span, attributes={"placeholder": "P14D", "autocomplete": "off"}),
    )
