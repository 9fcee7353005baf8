"""What is sent to /manage/projects, and what it answers."""

from typing import Any, ClassVar

import marshmallow as ma

from manager import projects
from manager.api.fields import (
    BaseUrl,
    Changes,
    Exact,
    Fallback,
    Label,
    Name,
    Origin,
    PageQuery,
    ProviderKey,
    Truth,
    Yes,
    names,
    sort_field,
)
from manager.api.inspections import InspectionShape
from manager.api.keys import HealthView, KeyView
from manager.api.limits import limits_field, shown_limits
from manager.api.policies import PolicyShape
from shared.models import Feature


def _features() -> "ma.fields.Dict":
    return ma.fields.Dict(
        ma.fields.Enum(Feature, by_value=True),
        Truth(allow_none=True),
        metadata={
            "description": "What differs from the provider; null or left out: as the provider has it.",
            "schema": {"propertyNames": {"enum": list(Feature)}},
        },
    )


def _fallbacks() -> "ma.fields.List[Any]":
    said = {
        "description": "Tried in order when that is down. Only admins change them.",
        "uniqueItems": True,
        "maxItems": 5,
    }
    return ma.fields.List(Fallback(), metadata=said)


def _origins() -> "ma.fields.List[Any]":
    return ma.fields.List(
        Origin(), metadata={"description": "Whose pages may call.", "uniqueItems": True, "maxItems": 50}
    )


class Settings(ma.Schema):
    """What a project is set to."""

    base_url = BaseUrl(metadata={"description": "Replaces the provider's own origin. Only admins change it."})
    fallback_urls = _fallbacks()
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field(metadata={"description": "Of all its tokens together."})
    cors_origins = _origins()
    features = _features()
    inspection = ma.fields.Nested(InspectionShape, metadata={"description": "What may be seen of its requests."})


class NewProject(Settings):
    """What a project is made of."""

    name = Name(required=True)
    api_key = ProviderKey(metadata={"description": "The first key; never shown again."})
    openai_api_key = ProviderKey(metadata={"description": "Another name for `api_key`; give one of them."})
    provider = ma.fields.String(load_default="openai", metadata={"description": "A name in the provider table."})
    facts: ClassVar = {"oneOf": [{"required": ["api_key"]}, {"required": ["openai_api_key"]}]}

    @ma.validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_has_one_key(self, body: dict[str, Any], sent: Any, **_: Any) -> None:
        given = {"api_key", "openai_api_key"} & names(sent)
        if len(given) > 1:
            raise ma.ValidationError("Give one of api_key and openai_api_key.", "openai_api_key")
        if not given:
            raise ma.ValidationError("Missing data for required field.", "api_key")

    @ma.post_load
    def _take_either_key(self, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        other = {"api_key": body.pop("openai_api_key")} if "openai_api_key" in body else {}
        return {**body, **other}


class ProjectChanges(Settings, Changes):
    """What may be changed; a field that is left out stays, any other is replaced as a whole."""

    name = Name()
    api_key = ProviderKey(metadata={"description": "Takes the place of the first key, under a new id."})
    is_active = Truth()


class ReplacedProject(Settings):
    """All that a project is set to; what is left out is as in a new project. Keys and state stay."""

    name = Name(required=True)


class ProjectQuery(PageQuery):
    """Which page, of which projects."""

    sort = sort_field(projects.SORTS)
    deleted = Yes(load_default=False, metadata={"description": "Those that were deleted, and none else."})
    is_active = Yes(load_default=None)
    provider = Exact()
    name_contains = Label(load_default=None, metadata={"description": "By exact letters."})
    name_prefix = Label(load_default=None, metadata={"description": "By exact letters."})


class DeletionQuery(ma.Schema):
    """How much goes."""

    purge = Yes(
        load_default=False,
        metadata={"description": "Remove all that there is of a deleted project, usage included. For admins."},
    )


class OriginView(ma.Schema):
    """Where requests go."""

    url = ma.fields.String()
    health = ma.fields.Nested(HealthView, allow_none=True, metadata={"description": "Null if Redis is away."})


class ProjectView(ma.Schema):
    """A project as it may be shown."""

    id = ma.fields.UUID(attribute="row.id")
    name = ma.fields.String(attribute="row.name")
    provider = ma.fields.String(attribute="row.provider")
    base_url = ma.fields.String(attribute="row.base_url")
    fallback_urls = ma.fields.List(ma.fields.String(), attribute="row.fallback_urls")
    policy = ma.fields.Nested(PolicyShape, attribute="row.policy")
    limits = shown_limits("row.limits")
    cors_origins = ma.fields.List(ma.fields.String(), attribute="row.cors_origins")
    features = ma.fields.Dict(attribute="row.features")
    inspection = ma.fields.Nested(InspectionShape, attribute="row.inspection")
    is_active = ma.fields.Boolean(attribute="row.is_active")
    api_key = ma.fields.String(allow_none=True, metadata={"description": "The first key's mask."})
    keys = ma.fields.List(ma.fields.Nested(KeyView))
    origins = ma.fields.List(ma.fields.Nested(OriginView))
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    updated_at = ma.fields.AwareDateTime(attribute="row.updated_at")
    deactivated_at = ma.fields.AwareDateTime(attribute="row.deactivated_at", allow_none=True)
    deleted_at = ma.fields.AwareDateTime(attribute="row.deleted_at", allow_none=True)


class ProjectPage(ma.Schema):
    """A page of projects."""

    items = ma.fields.List(ma.fields.Nested(ProjectView))
    next_cursor = ma.fields.String(allow_none=True)


class RevokedTokens(ma.Schema):
    """How many tokens were revoked."""

    revoked = ma.fields.Integer()
