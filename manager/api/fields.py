"""Field types that marshmallow does not have: strict about JSON types, and durations; and the query of every list."""

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


class PageQuery(ma.Schema):
    """Which page of a list."""

    limit = ma.fields.Integer(load_default=50, validate=ma.validate.Range(1, 200))
    cursor = ma.fields.String(load_default=None, validate=ma.validate.Length(max=200))
