"""Fields that marshmallow does not have, strict about JSON types; durations; and the shapes that several share."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import marshmallow as ma

from manager import keys, pages, texts, tokens
from manager.tables import NAME_LENGTH
from shared import durations
from shared import tokens as formats
from shared.models import MOST

# Whole days and below, which always last as long; see shared/durations.py.
DURATION_PATTERN = r"^(P[1-9][0-9]{0,3}D|PT[1-9][0-9]{0,4}[HMS]|[1-9][0-9]{0,8})$"
GRACE_PATTERN = r"^(P[1-7]D|PT[1-9][0-9]{0,1}[HMS]|[1-9][0-9]{0,4})$"
_HOST = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"


def described_text(**facts: Any) -> "type[ma.fields.String]":
    """Return a text whose rules the domain checks and the description tells."""

    class Described(ma.fields.String):
        def __init__(self, *, metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
            super().__init__(metadata={**facts, **(metadata or {})}, **more)

    return Described


Name = described_text(minLength=1, maxLength=NAME_LENGTH, pattern=texts.NAME_PATTERN)
Label = described_text(maxLength=NAME_LENGTH, pattern=texts.TEXT_PATTERN)
Plain = described_text(minLength=1, pattern=texts.PLAIN_PATTERN)
ProviderKey = described_text(
    minLength=keys.KEY_LENGTHS[0],
    maxLength=keys.KEY_LENGTHS[-1],
    pattern=rf"^(?!{formats.PREFIX}|{formats.OPERATOR_PREFIX})(?!.*(\*\*\*\*|\.\.\.))[!-~]+$",
    example="sk-the-providers-key",
)
BaseUrl = described_text(maxLength=2048, pattern=rf"^(https://{_HOST}(\.{_HOST}){{1,3}}(/[a-z0-9]{{1,20}}){{0,2}})?$")
Fallback = described_text(maxLength=2048, pattern=rf"^https://{_HOST}(\.{_HOST}){{1,3}}(/[a-z0-9]{{1,20}}){{0,2}}$")
Origin = described_text(maxLength=2048, pattern=rf"^https://{_HOST}(\.{_HOST}){{1,3}}$")


class Whole(ma.fields.Integer):
    """A number without a fraction, and not a text that reads like one; JSON makes no difference between 1 and 1.0."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
            raise self.make_error("invalid", input=value)
        return int(value)


class Weight(Whole):
    """The share of a key."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**_with(more, minimum=keys.WEIGHTS[0], maximum=keys.WEIGHTS[-1]))


class MostRequests(Whole):
    """How many requests a token is for; null: any number."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_none=True, **_with(more, minimum=1, maximum=MOST))


def names(sent: Any) -> set[str]:
    """Return the names of the fields of a body as it was sent, which may be anything."""
    return set(sent) if isinstance(sent, Mapping) else set()


def _with(more: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {**more, "metadata": {**facts, **more.get("metadata", {})}}


class Truth(ma.fields.Boolean):
    """true or false, and not what merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Number(ma.fields.Float):
    """A finite number, and not a text that reads like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Duration(ma.fields.Field[timedelta]):
    """A number of seconds or an ISO 8601 duration; loads a timedelta."""

    def __init__(self, *, metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
        seconds = {"type": "integer", "minimum": 1, "maximum": int(durations.LONGEST.total_seconds())}
        text = {"type": "string", "pattern": DURATION_PATTERN, "example": "PT15M"}
        null: list[dict[str, Any]] = [{"type": "null"}] if more.get("allow_none") else []
        said = {"schema": {"oneOf": [seconds, text, *null]}, "description": "Seconds, or ISO 8601 like PT15M, P30D."}
        super().__init__(metadata={**said, **(metadata or {})}, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta:
        value = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ma.ValidationError("A duration is whole seconds or ISO 8601 like PT15M, P30D.")
        try:
            return durations.parse(value)
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error


class Grace(Duration):
    """A duration that may be none at all."""

    def __init__(self, **more: Any) -> None:
        seconds = {"type": "integer", "minimum": 0, "maximum": int(tokens.LONGEST_GRACE.total_seconds())}
        text = {"type": "string", "pattern": GRACE_PATTERN, "example": "PT1H"}
        super().__init__(
            metadata={"schema": {"oneOf": [seconds, text]}, "description": "At most P7D; 0: it ends at once."}, **more
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta:
        if value in (0, "0") and not isinstance(value, bool):
            return timedelta(0)
        return super()._deserialize(value, attr, data, **kwargs)


class Moment(ma.fields.AwareDateTime):
    """A moment with a zone; loads it in UTC. Refuses what lies beyond the years 1 to 9999 there."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        found: datetime = super()._deserialize(value, attr, data, **kwargs)
        try:
            return found.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from error


class Changes(ma.Schema):
    """What may be changed; a field that is left out stays. To leave out all of them is a mistake."""

    facts: ClassVar = {"minProperties": 1}

    @ma.validates_schema
    def _check_there_are_some(self, body: Mapping[str, Any], **_: Any) -> None:
        if not body:
            raise ma.ValidationError("Give at least one field.")


class Exact(ma.fields.String):
    """A filter by a text as it is."""

    def __init__(self, **more: Any) -> None:
        # No database has a NUL in a text, and PostgreSQL takes none in a question either.
        none = ma.validate.Regexp(texts.TEXT_PATTERN.replace("$", r"\Z"), error="Must not contain control characters.")
        length = ma.validate.Length(max=256)
        said = {"pattern": texts.TEXT_PATTERN, **more.pop("metadata", {})}
        super().__init__(**{"load_default": None, "validate": [length, none], "metadata": said, **more})


class RequestId(ma.fields.String):
    """What a request is called in answers, logs and records."""

    PATTERN = "^[A-Za-z0-9._-]{1,64}$"

    def __init__(self, **more: Any) -> None:
        exact = ma.validate.Regexp(self.PATTERN.replace("$", r"\Z"))
        super().__init__(validate=exact, metadata={"pattern": self.PATTERN}, **more)


class WholeNumber(ma.fields.Integer):
    """A whole number in a query: digits and nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
            raise self.make_error("invalid", input=value)
        found: int = super()._deserialize(value, attr, data, **kwargs)
        return found


class Yes(ma.fields.Boolean):
    """true or false in a query."""

    truthy = {"true", "True"}
    falsy = {"false", "False"}


class PageQuery(ma.Schema):
    """Which page of a list."""

    limit = WholeNumber(load_default=50, validate=ma.validate.Range(1, pages.LARGEST))
    cursor = ma.fields.String(
        load_default=None,
        metadata={"description": "The `next_cursor` of the page before; empty: the first page.", "format": "cursor"},
    )


def sort_field(names: Mapping[str, Any], first: str = "-created_at") -> ma.fields.String:
    """Return the field that says how a list is sorted."""
    possible = [direction + name for name in names for direction in ("", "-")]
    said = {"description": "What it is sorted by, with - before it for the reverse; ids decide between equals."}
    return ma.fields.String(load_default=first, validate=ma.validate.OneOf(possible), metadata=said)
