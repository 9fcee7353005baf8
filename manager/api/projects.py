"""/manage/projects."""

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, projects
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import PageQuery, Truth
from manager.api.services import now, services
from manager.pages import Page
from manager.tables import Project

blueprint = ManageBlueprint("projects", "Who may call which provider, with which keys.")


class NewProject(ma.Schema):
    """What a project is made of."""

    name = ma.fields.String(required=True)
    api_key = ma.fields.String(required=True, metadata={"description": "The provider's key; never shown again."})
    provider = ma.fields.String(load_default="openai")
    base_url = ma.fields.String(load_default="", metadata={"description": "Replaces the provider's own origin."})


class ProjectChanges(ma.Schema):
    """What may be changed; a field that is left out stays."""

    name = ma.fields.String()
    api_key = ma.fields.String()
    base_url = ma.fields.String()
    is_active = Truth()


class KeyView(ma.Schema):
    """A provider key as it may be shown."""

    id = ma.fields.UUID()
    label = ma.fields.String()
    masked_key = ma.fields.String(attribute="masked")
    weight = ma.fields.Integer()
    is_active = ma.fields.Boolean()


class ProjectView(ma.Schema):
    """A project as it may be shown."""

    id = ma.fields.UUID()
    name = ma.fields.String()
    provider = ma.fields.String()
    base_url = ma.fields.String()
    is_active = ma.fields.Boolean()
    api_key = ma.fields.Function(lambda project: project.keys[0].masked, metadata={"type": "string"})
    keys = ma.fields.List(ma.fields.Nested(KeyView))
    created_at = ma.fields.AwareDateTime()
    updated_at = ma.fields.AwareDateTime()
    deactivated_at = ma.fields.AwareDateTime(allow_none=True)


class ProjectPage(ma.Schema):
    """A page of projects."""

    items = ma.fields.List(ma.fields.Nested(ProjectView))
    next_cursor = ma.fields.String(allow_none=True)


@blueprint.route("/projects")
class Projects(MethodView):
    """All projects."""

    @blueprint.arguments(PageQuery, location="query")
    @blueprint.response(200, ProjectPage)
    def get(self, query: dict[str, Any]) -> Page[Project]:
        """List projects, newest first."""
        with db.reading(services().sessions) as session:
            return projects.list_page(session, **query)

    @blueprint.arguments(NewProject)
    @blueprint.response(201, ProjectView)
    def post(self, body: dict[str, Any]) -> Project:
        """Create a project with its first key."""
        with services().sessions.begin() as session:
            project = projects.create(session, services().rules, now(), **body)
        services().publish_created(lambda publisher: publisher.publish_project(project.id))
        return project


@blueprint.route("/projects/<uuid:project_id>")
class OneProject(MethodView):
    """One project."""

    @blueprint.response(200, ProjectView)
    def get(self, project_id: UUID) -> Project:
        """Show a project."""
        with db.reading(services().sessions) as session:
            return projects.get(session, project_id)

    @blueprint.arguments(ProjectChanges)
    @blueprint.response(200, ProjectView)
    def patch(self, body: dict[str, Any], project_id: UUID) -> Project:
        """Change a project."""
        with services().sessions.begin() as session:
            project = projects.get(session, project_id, for_update=True)
            projects.update(session, services().rules, now(), project, **body)
        services().publisher.publish_project(project_id)
        return project

    @blueprint.response(204)
    def delete(self, project_id: UUID) -> None:
        """Deactivate a project and revoke all its tokens; its usage stays."""
        with services().sessions.begin() as session:
            projects.delete(session, now(), projects.get(session, project_id, for_update=True))
        services().publisher.publish_project(project_id)
        services().publisher.publish_tokens_of(project_id)
