"""Fields that marshmallow does not have, strict about JSON types; durations; and the shapes that several share."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import marshmallow as ma

from shared import durations


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

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta:
        if not isinstance(value, int | str):
            raise ma.ValidationError("A duration is whole seconds or ISO 8601 like PT15M, P30D.")
        try:
            return durations.parse(value)
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error


class Changes(ma.Schema):
    """What may be changed; a field that is left out stays. To leave out all of them is a mistake."""

    @ma.validates_schema
    def _check_there_are_some(self, body: Mapping[str, Any], **_: Any) -> None:
        if not body:
            raise ma.ValidationError("Give at least one field.")


class PageQuery(ma.Schema):
    """Which page of a list."""

    limit = ma.fields.Integer(load_default=50, validate=ma.validate.Range(1, 200))
    cursor = ma.fields.String(load_default=None, validate=ma.validate.Length(max=200))
