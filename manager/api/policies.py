"""The shape of a policy, as it is sent and as it is shown."""

from typing import Any

import marshmallow as ma

from manager import policies, texts
from manager.api.fields import Number


def _entry(length: int) -> dict[str, Any]:
    return {"minLength": 1, "maxLength": length, "pattern": texts.PLAIN_PATTERN}


def _entries(length: int, description: str) -> "ma.fields.List[Any]":
    said = {"schema": {"maxItems": policies.MOST_ENTRIES}, "description": description}
    return ma.fields.List(ma.fields.String(metadata=_entry(length)), metadata=said)


class PolicyShape(ma.Schema):
    """What may be asked for; a part that is left out limits nothing. Models are globs of `*` and `?`."""

    allowed_models = _entries(policies.GLOB_LENGTH, "None means all.")
    denied_models = _entries(policies.GLOB_LENGTH, "They win over allowed ones.")
    denied_parameters = _entries(policies.PARAMETER_LENGTH, "Parameters that may not be sent.")
    max_values = ma.fields.Dict(
        ma.fields.String(),
        Number(metadata={"minimum": 0}),
        metadata={
            "description": "Caps of parameters by name.",
            "schema": {
                "maxProperties": policies.MOST_ENTRIES,
                "propertyNames": {"type": "string", **_entry(policies.PARAMETER_LENGTH)},
            },
        },
    )
