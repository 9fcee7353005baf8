"""Fields of forms: which part of a body they are, and how they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.models import Scope


class Kind(StrEnum):
    """How a value is asked for."""

    TEXT = "text"
    # Never shown again, whatever was sent.
    PASSWORD = "password"  # noqa: S105 - a kind of field
    TEXTAREA = "textarea"
    NUMBER = "number"
    SELECT = "select"
    CHECKBOX = "checkbox"
    # A list of some of the choices, each with a box of its own.
    CHOICES = "choices"
    # A moment in UTC.
    DATETIME = "datetime-local"
    # A list of texts, one in each line.
    TAGS = "tags"
    # Numbers by names, one `name = number` in each line.
    PAIRS = "pairs"
    LIMITS = "limits"


class Blank(StrEnum):
    """What it means that nothing was entered. Lists and limits without entries are sent as such, unless it is null."""

    LEFT_OUT = "left out"
    NULL = "null"
    EMPTY = "empty"


@dataclass(frozen=True)
class Choice:
    """One of several values, and what it is called."""

    value: str
    label: str


@dataclass(frozen=True)
class Field:
    """A part of a body; `name` leads into nested ones by dots.

    `attributes` are HTML's, in the place of those that the schema says; None takes one away. `scope` is for limits:
    whose they are.
    """

    name: str
    label: str
    help: str = ""
    kind: Kind = Kind.TEXT
    choices: Sequence[Choice] = ()
    blank: Blank = Blank.LEFT_OUT
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    required: bool | None = None
    scope: Scope = Scope.PROJECT
