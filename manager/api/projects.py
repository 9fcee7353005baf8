"""/manage/projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import audit, db, projects
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, PageQuery, Truth
from manager.api.keys import HealthView, KeyView, ShownKey
from manager.api.limits import changed, limits_field, shown_limits
from manager.api.policies import PolicyShape
from manager.api.services import now, services, source
from manager.pages import Page
from manager.tables import Project
from manager.upstream_health import Health
from shared.models import Feature
from shared.redis_schema import key_subject, origin_subject

blueprint = ManageBlueprint("projects", "Who may call which provider, with which keys.")


class NewProject(ma.Schema):
    """What a project is made of."""

    name = ma.fields.String(required=True)
    api_key = ma.fields.String(required=True, metadata={"description": "The first key; never shown again."})
    provider = ma.fields.String(load_default="openai")
    base_url = ma.fields.String(load_default="", metadata={"description": "Replaces the provider's own origin."})
    fallback_urls = ma.fields.List(ma.fields.String(), metadata={"description": "Tried in order when that is down."})
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field(metadata={"description": "Of all its tokens together."})
    cors_origins = ma.fields.List(ma.fields.String(), metadata={"description": "Whose pages may call."})
    features = ma.fields.Dict(
        ma.fields.Enum(Feature, by_value=True),
        Truth(allow_none=True),
        metadata={"description": "What differs from the provider; null or left out: as the provider has it."},
    )


class ProjectChanges(Changes):
    """What may be changed; a field that is left out stays, any other is replaced as a whole."""

    name = ma.fields.String()
    api_key = ma.fields.String(metadata={"description": "Takes the place of the first key, under a new id."})
    base_url = ma.fields.String()
    fallback_urls = ma.fields.List(ma.fields.String())
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field()
    cors_origins = ma.fields.List(ma.fields.String())
    features = ma.fields.Dict(ma.fields.Enum(Feature, by_value=True), Truth(allow_none=True))
    is_active = Truth()


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
    is_active = ma.fields.Boolean(attribute="row.is_active")
    api_key = ma.fields.String(allow_none=True, metadata={"description": "The first key's mask."})
    keys = ma.fields.List(ma.fields.Nested(KeyView))
    origins = ma.fields.List(ma.fields.Nested(OriginView))
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    updated_at = ma.fields.AwareDateTime(attribute="row.updated_at")
    deactivated_at = ma.fields.AwareDateTime(attribute="row.deactivated_at", allow_none=True)


class ProjectPage(ma.Schema):
    """A page of projects."""

    items = ma.fields.List(ma.fields.Nested(ProjectView))
    next_cursor = ma.fields.String(allow_none=True)


@dataclass(frozen=True)
class ShownOrigin:
    """A base URL and what the data plane has learned of its origin."""

    url: str
    health: Health | None


@dataclass(frozen=True)
class ShownProject:
    """A row and what the data plane has learned of its keys and origins."""

    row: Project
    keys: list[ShownKey]
    origins: list[ShownOrigin]

    @property
    def api_key(self) -> str | None:
        """Return the mask of the first key, None if there is none."""
        return self.row.keys[0].masked if self.row.keys else None

    @classmethod
    def of(cls, row: Project, urls: list[str], health: Mapping[str, Health | None]) -> "ShownProject":
        """Return a project with its share of what was asked for many."""
        keys = [ShownKey.of(key, health) for key in row.keys]
        return cls(row, keys, [ShownOrigin(url, health[origin_subject(url)]) for url in urls])


def _shown(*rows: Project) -> list[ShownProject]:
    urls = {row.id: projects.base_urls(row, services().rules) for row in rows}
    subjects = [key_subject(str(key.id)) for row in rows for key in row.keys]
    subjects += [origin_subject(url) for row in rows for url in urls[row.id]]
    health = services().health.of(subjects)
    return [ShownProject.of(row, urls[row.id], health) for row in rows]


@blueprint.route("/projects")
class Projects(MethodView):
    """All projects."""

    @blueprint.arguments(PageQuery, location="query")
    @blueprint.response(200, ProjectPage)
    def get(self, query: dict[str, Any]) -> Page[ShownProject]:
        """List projects, newest first."""
        with db.reading(services().sessions) as session:
            found = projects.list_page(session, **query)
        return Page(_shown(*found.items), found.next_cursor)

    @blueprint.arguments(NewProject)
    @blueprint.response(201, ProjectView)
    def post(self, body: dict[str, Any]) -> ShownProject:
        """Create a project with its first key."""
        with services().sessions.begin() as session:
            project = projects.create(session, services().rules, now(), **body)
        services().publish_created(lambda publisher: publisher.publish_project(project.id))
        return _shown(project)[0]


@blueprint.route("/projects/<uuid:project_id>")
class OneProject(MethodView):
    """One project."""

    @blueprint.response(200, ProjectView)
    def get(self, project_id: UUID) -> ShownProject:
        """Show a project."""
        with db.reading(services().sessions) as session:
            project = projects.get(session, project_id)
        return _shown(project)[0]

    @blueprint.arguments(ProjectChanges)
    @blueprint.response(200, ProjectView)
    def patch(self, body: dict[str, Any], project_id: UUID) -> ShownProject:
        """Change a project."""
        with services().sessions.begin() as session:
            project = projects.get(session, project_id, for_update=True)
            was_active, known = project.is_active, {key.id for key in project.keys}
            limits = project.limits
            projects.update(session, services().rules, now(), project, **body)
            if was_active and not project.is_active:
                audit.note(session, now(), source(), audit.Action.PROJECT_DEACTIVATE, project_id=project_id)
            if detail := changed(limits, project.limits):
                action = audit.Action.LIMITS_CHANGE
                audit.note(session, now(), source(), action, project_id=project_id, detail=detail)
        services().publisher.publish_project(project_id)
        services().health.forgive(*known - {key.id for key in project.keys})
        return _shown(project)[0]

    @blueprint.response(204)
    def delete(self, project_id: UUID) -> None:
        """Deactivate a project and revoke all its tokens; its usage stays."""
        with services().sessions.begin() as session:
            revoked = projects.delete(session, now(), projects.get(session, project_id, for_update=True))
            detail, action = {"revoked_tokens": revoked}, audit.Action.PROJECT_DELETE
            audit.note(session, now(), source(), action, project_id=project_id, detail=detail)
        services().publisher.publish_project(project_id)
        services().publisher.publish_tokens_of(project_id)
