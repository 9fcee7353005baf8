"""/manage/projects/{id}/keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, keys, projects
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, PageQuery, Truth
from manager.api.services import now, services
from manager.pages import Page
from manager.tables import UpstreamKey
from manager.upstream_health import Health
from shared.redis_schema import key_subject

blueprint = ManageBlueprint("keys", "The provider's keys of a project, and which of them are set aside.")


class NewKey(ma.Schema):
    """What a key is made of."""

    api_key = ma.fields.String(required=True, metadata={"description": "The provider's key; never shown again."})
    label = ma.fields.String(load_default="")
    weight = ma.fields.Integer(strict=True, load_default=1, metadata={"description": "Its share, from 1 to 1000."})


class KeyChanges(Changes):
    """What may be changed; a field that is left out stays. With another `api_key` the key keeps its id."""

    api_key = ma.fields.String()
    label = ma.fields.String()
    weight = ma.fields.Integer(strict=True)
    is_active = Truth()


class HealthView(ma.Schema):
    """Whether something is used. From `until` on, the next request tries it."""

    state = ma.fields.String(validate=ma.validate.OneOf(["ok", "set_aside"]))
    reason = ma.fields.String(allow_none=True)
    until = ma.fields.AwareDateTime(allow_none=True)
    openings = ma.fields.Integer(metadata={"description": "How often in a row it has been set aside."})


class KeyView(ma.Schema):
    """A provider's key as it may be shown."""

    id = ma.fields.UUID(attribute="row.id")
    label = ma.fields.String(attribute="row.label")
    masked_key = ma.fields.String(attribute="row.masked")
    weight = ma.fields.Integer(attribute="row.weight")
    is_active = ma.fields.Boolean(attribute="row.is_active")
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    health = ma.fields.Nested(HealthView, allow_none=True, metadata={"description": "Null if Redis is away."})


class KeyPage(ma.Schema):
    """A page of keys."""

    items = ma.fields.List(ma.fields.Nested(KeyView))
    next_cursor = ma.fields.String(allow_none=True)


@dataclass(frozen=True)
class ShownKey:
    """A row and what the data plane has learned of it."""

    row: UpstreamKey
    health: Health | None

    @classmethod
    def of(cls, row: UpstreamKey, health: Mapping[str, Health | None]) -> "ShownKey":
        """Return a key with its share of what was asked for many."""
        return cls(row, health[key_subject(str(row.id))])


def _shown(*rows: UpstreamKey) -> list[ShownKey]:
    health = services().health.of(key_subject(str(row.id)) for row in rows)
    return [ShownKey.of(row, health) for row in rows]


@blueprint.route("/projects/<uuid:project_id>/keys")
class Keys(MethodView):
    """All keys of a project."""

    @blueprint.arguments(PageQuery, location="query")
    @blueprint.response(200, KeyPage)
    def get(self, query: dict[str, Any], project_id: UUID) -> Page[ShownKey]:
        """List a project's keys, newest first."""
        with db.reading(services().sessions) as session:
            projects.get(session, project_id)
            found = keys.list_page(session, project_id, **query)
        return Page(_shown(*found.items), found.next_cursor)

    @blueprint.arguments(NewKey)
    @blueprint.response(201, KeyView)
    def post(self, body: dict[str, Any], project_id: UUID) -> ShownKey:
        """Add a key to a project."""
        with services().sessions.begin() as session:
            project = projects.get(session, project_id, for_update=True)
            key = keys.add(services().rules, now(), project, **body)
            projects.touch(project, now())
        services().publish_created(lambda publisher: publisher.publish_project(project_id))
        return _shown(key)[0]


@blueprint.route("/projects/<uuid:project_id>/keys/<uuid:key_id>")
class OneKey(MethodView):
    """One key of a project."""

    @blueprint.response(200, KeyView)
    def get(self, project_id: UUID, key_id: UUID) -> ShownKey:
        """Show a key."""
        with db.reading(services().sessions) as session:
            key = keys.get(projects.get(session, project_id), key_id)
        return _shown(key)[0]

    @blueprint.arguments(KeyChanges)
    @blueprint.response(200, KeyView)
    def patch(self, body: dict[str, Any], project_id: UUID, key_id: UUID) -> ShownKey:
        """Change a key; the last active one of an active project cannot be switched off."""
        with services().sessions.begin() as session:
            project = projects.get(session, project_id, for_update=True)
            key = keys.get(project, key_id)
            keys.update(services().rules, project, key, **body)
            projects.touch(project, now())
        services().publisher.publish_project(project_id)
        if "api_key" in body:
            services().health.forgive(key_id)
        return _shown(key)[0]

    @blueprint.response(204)
    def delete(self, project_id: UUID, key_id: UUID) -> None:
        """Remove a key, but not the last active one of an active project."""
        with services().sessions.begin() as session:
            project = projects.get(session, project_id, for_update=True)
            keys.delete(project, keys.get(project, key_id))
            projects.touch(project, now())
        services().publisher.publish_project(project_id)
        services().health.forgive(key_id)
