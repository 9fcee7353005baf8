"""What is sent to /manage/tokens, and what it answers."""

from typing import Any, ClassVar

import marshmallow as ma

from manager import tokens
from manager.api.fields import (
    Changes,
    Duration,
    Grace,
    Label,
    Moment,
    MostRequests,
    PageQuery,
    Truth,
    Whole,
    names,
    sort_field,
)
from manager.api.limits import TOKEN_LIMITS, limits_field, shown_limits
from manager.api.policies import PolicyShape
from manager.current import now

SOON = "2030-01-01T00:00:00Z"


class Lives(ma.Schema):
    """How long something lives: said in one of two ways."""

    expires_in = Duration()
    expires_at = Moment(metadata={"description": "The end of its life, instead of `expires_in`.", "example": SOON})
    facts: ClassVar[dict[str, Any]] = {"not": {"required": ["expires_in", "expires_at"]}}

    @ma.validates_schema
    def _check_says_it_once(self, body: dict[str, Any], **_: Any) -> None:
        if {"expires_in", "expires_at"} <= set(body):
            raise ma.ValidationError("Give one of expires_in and expires_at.", "expires_at")


class TokenSettings(Lives):
    """What a token is made of, beside its label."""

    project_id = ma.fields.UUID(required=True)
    max_requests = MostRequests(load_default=None)
    policy = ma.fields.Nested(PolicyShape, metadata={"description": "Narrows that of the project."})
    limits = limits_field(
        TOKEN_LIMITS, metadata={"description": "Beside `max_requests`, and beside those of the project."}
    )

    facts: ClassVar[dict[str, Any]] = {"oneOf": [{"required": ["expires_in"]}, {"required": ["expires_at"]}]}

    @ma.validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_has_an_end(self, body: dict[str, Any], sent: Any, **_: Any) -> None:
        if not {"expires_in", "expires_at"} & names(sent):
            raise ma.ValidationError("Missing data for required field.", "expires_in")


class NewToken(TokenSettings):
    """What a token is made of."""

    label = Label(load_default="")


class NewTokens(TokenSettings):
    """What many tokens are made of: how many, or a label for each."""

    count = Whole(validate=ma.validate.Range(1, tokens.MOST_AT_ONCE))
    labels = ma.fields.List(Label(), validate=ma.validate.Length(1, tokens.MOST_AT_ONCE))

    facts: ClassVar[dict[str, Any]] = {
        "allOf": [TokenSettings.facts, {"oneOf": [{"required": ["count"]}, {"required": ["labels"]}]}]
    }

    @ma.post_load
    def _make_labels(self, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        if ("count" in body) == ("labels" in body):
            raise ma.ValidationError("Give one of count and labels.", "count")
        count = body.pop("count", 0)
        return {"labels": [""] * count, **body}


class TokenChanges(Lives, Changes):
    """What may be changed; a field that is left out stays. `expires_in` counts from now."""

    facts: ClassVar[dict[str, Any]] = {**Lives.facts, **Changes.facts}

    label = Label()
    max_requests = MostRequests()
    is_active = Truth()
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field(TOKEN_LIMITS)


class Refreshed(Lives):
    """How long the old secret works, and a new life if one is given."""

    grace = Grace()


class Filters(ma.Schema):
    """Which tokens; all that is given has to fit."""

    project_id = ma.fields.UUID()
    state = ma.fields.String(validate=ma.validate.OneOf(list(tokens.State)))
    label_contains = Label(metadata={"description": "By exact letters."})
    label_prefix = Label(metadata={"description": "By exact letters."})
    expires_before = Moment()
    expires_after = Moment(metadata={"description": "Then or later."})
    last_used_before = Moment(metadata={"description": "Or never."})
    last_used_after = Moment(metadata={"description": "Then or later."})


class TokenQuery(Filters, PageQuery):
    """Which page, of which tokens."""

    sort = sort_field(tokens.SORTS)


class Revocation(Filters):
    """Which tokens are revoked: those with these ids, or all that fit the filters, or all that there are."""

    ids = ma.fields.List(ma.fields.UUID(), validate=ma.validate.Length(1, tokens.MOST_AT_ONCE))
    all = Truth(metadata={"description": "Must be true if there are no filters.", "enum": [True]})

    facts: ClassVar[dict[str, Any]] = {
        "minProperties": 1,
        "anyOf": [{"not": {"anyOf": [{"required": ["ids"]}, {"required": ["all"]}]}}, {"maxProperties": 1}],
    }

    @ma.validates_schema
    def _check_says_which(self, body: dict[str, Any], **_: Any) -> None:
        if "ids" in body and len(body) > 1:
            raise ma.ValidationError("Give ids or filters.", "ids")
        if body.get("all") is False or ("all" in body and len(body) > 1):
            raise ma.ValidationError("Must be true, without any filter.", "all")
        if not body:
            raise ma.ValidationError("Give ids, or filters, or all: true.")


class RevocationView(ma.Schema):
    """What came of it. `unknown_ids` are those of no token that you may see."""

    revoked = ma.fields.Integer(metadata={"description": "Those that were not revoked before."})
    unknown_ids = ma.fields.List(ma.fields.UUID())


_STATE = {"type": "string", "enum": list(tokens.State), "description": "The first of these that is true."}
_UNTIL = {"description": "Until when the secret before the last refresh works as well; null: it does not."}


class TokenView(ma.Schema):
    """A token as it may be shown."""

    id = ma.fields.UUID()
    masked_token = ma.fields.String(attribute="masked")
    project_id = ma.fields.UUID()
    label = ma.fields.String()
    expires_at = ma.fields.AwareDateTime()
    max_requests = ma.fields.Integer(allow_none=True)
    request_count = ma.fields.Integer()
    is_active = ma.fields.Boolean()
    state = ma.fields.Function(lambda row: tokens.state_of(row, now()).value, metadata=_STATE)
    policy = ma.fields.Nested(PolicyShape)
    limits = shown_limits("limits")
    created_at = ma.fields.AwareDateTime()
    updated_at = ma.fields.AwareDateTime()
    last_used_at = ma.fields.AwareDateTime(allow_none=True)
    revoked_at = ma.fields.AwareDateTime(allow_none=True)
    refreshed_at = ma.fields.AwareDateTime(allow_none=True)
    previous_until = ma.fields.AwareDateTime(allow_none=True, metadata=_UNTIL)


class CreatedTokenView(TokenView):
    """A new token with its secret, which is shown this once."""

    token = ma.fields.String(attribute="secret", metadata={"description": "The secret, shown only here."})


class TokenPage(ma.Schema):
    """A page of tokens."""

    items = ma.fields.List(ma.fields.Nested(TokenView))
    next_cursor = ma.fields.String(allow_none=True)


class CreatedTokens(ma.Schema):
    """New tokens with their secrets, which are shown this once."""

    items = ma.fields.List(ma.fields.Nested(CreatedTokenView))
