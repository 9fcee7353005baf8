"""The shape of a policy, as it is sent and as it is shown."""

import marshmallow as ma

from manager.api.fields import Number


class PolicyShape(ma.Schema):
    """What may be asked for; a part that is left out limits nothing. Models are globs of `*` and `?`."""

    allowed_models = ma.fields.List(ma.fields.String(), metadata={"description": "None means all."})
    denied_models = ma.fields.List(ma.fields.String(), metadata={"description": "They win over allowed ones."})
    denied_parameters = ma.fields.List(ma.fields.String())
    max_values = ma.fields.Dict(ma.fields.String(), Number(), metadata={"description": "Caps of parameters by name."})
