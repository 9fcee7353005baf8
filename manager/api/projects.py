"""/manage/projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask.views import MethodView

from manager import db, projects
from manager.actions import projects as actions
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.keys import ShownKey, shown_without_health
from manager.api.once import once
from manager.api.project_shapes import (
    DeletionQuery,
    NewProject,
    ProjectChanges,
    ProjectPage,
    ProjectQuery,
    ProjectView,
    ReplacedProject,
    RevokedTokens,
)
from manager.current import scope, services
from manager.pages import Page
from manager.tables import Project
from manager.upstream_health import Health
from shared.redis_schema import key_subject, origin_subject

blueprint = ManageBlueprint("projects", "Who may call which provider, with which keys.")
_ONE = "/manage/projects/{project_id}"
_ID = {"project_id": "$response.body#/id"}
LINKS = {
    "get": ("get", _ONE, _ID),
    "change": ("patch", _ONE, _ID),
    "replace": ("put", _ONE, _ID),
    "activate": ("post", f"{_ONE}/activate", _ID),
    "deactivate": ("post", f"{_ONE}/deactivate", _ID),
    "delete": ("delete", _ONE, _ID),
    "list keys": ("get", f"{_ONE}/keys", _ID),
    "add key": ("post", f"{_ONE}/keys", _ID),
    "revoke tokens": ("post", f"{_ONE}/tokens/revoke", _ID),
    "make token": ("post", "/manage/tokens", {"body": {"project_id": "$response.body#/id"}}),
    "make tokens": ("post", "/manage/tokens/batch", {"body": {"project_id": "$response.body#/id"}}),
}
_EXAMPLE = {
    "name": "search team",
    "base_url": "https://eu.example.org",
    "policy": {"allowed_models": ["gpt-4o*"], "max_values": {"max_tokens": 4096}},
    "limits": [{"measure": "cost", "window": "month", "amount": "500.00"}],
    "features": {"retries": False},
}


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


def shown(*rows: Project) -> list[ShownProject]:
    """Return projects with the health of their keys and origins."""
    urls = {row.id: projects.base_urls(row, services().rules) for row in rows}
    subjects = [key_subject(str(key.id)) for row in rows for key in row.keys]
    subjects += [origin_subject(url) for row in rows for url in urls[row.id]]
    health = services().health.of(subjects)
    return [ShownProject.of(row, urls[row.id], health) for row in rows]


def _shown_without_health(row: Project) -> ShownProject:
    origins = [ShownOrigin(url, None) for url in projects.base_urls(row, services().rules)]
    return ShownProject(row, [shown_without_health(key) for key in row.keys], origins)


def _tagged(row: Project) -> ShownProject:
    conditions.show(actions.state(row))
    return shown(row)[0]


@blueprint.route("/projects")
class Projects(MethodView):
    """All projects."""

    @blueprint.says(links=described.of_first(LINKS))
    @blueprint.arguments(ProjectQuery, location="query")
    @blueprint.response(200, ProjectPage)
    def get(self, query: dict[str, Any]) -> Page[ShownProject]:
        """List projects, newest first."""
        with db.reading(services().sessions) as session:
            found = projects.list_page(session, scope=scope(), **query)
        return Page(shown(*found.items), found.next_cursor)

    @blueprint.says(once=True, is_tagged=True, conflicts=True, links=LINKS)
    @blueprint.arguments(NewProject, example={**_EXAMPLE, "api_key": "sk-the-providers-key"})
    @blueprint.response(201, ProjectView)
    def post(self, body: dict[str, Any]) -> ShownProject:
        """Create a project with its first key."""
        return _tagged(actions.create(body, once(ProjectView(), _shown_without_health, state=actions.state)))


@blueprint.route("/projects/<uuid:project_id>")
class OneProject(MethodView):
    """One project."""

    @blueprint.says(tagged=True)
    @blueprint.response(200, ProjectView)
    def get(self, project_id: UUID) -> ShownProject:
        """Show a project, also one that was deleted and not yet purged."""
        with db.reading(services().sessions) as session:
            project = projects.get(session, project_id, scope=scope())
        return _tagged(project)

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(ProjectChanges, example={"base_url": "", "features": {"retries": None}})
    @blueprint.response(200, ProjectView)
    def patch(self, body: dict[str, Any], project_id: UUID) -> ShownProject:
        """Change a project."""
        return _tagged(actions.update(project_id, body, conditions.expected()))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(ReplacedProject, example=_EXAMPLE)
    @blueprint.response(200, ProjectView)
    def put(self, body: dict[str, Any], project_id: UUID) -> ShownProject:
        """Replace name and settings of a project; its keys and whether it is active stay."""
        return _tagged(actions.replace(project_id, body, conditions.expected()))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(DeletionQuery, location="query")
    @blueprint.response(204)
    def delete(self, query: dict[str, Any], project_id: UUID) -> None:
        """Deactivate a project for good and revoke all its tokens; its usage stays until it is purged."""
        (actions.purge if query["purge"] else actions.delete)(project_id, conditions.expected())


@blueprint.route("/projects/<uuid:project_id>/activate")
class Activation(MethodView):
    """Switching on."""

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.response(200, ProjectView)
    def post(self, project_id: UUID) -> ShownProject:
        """Switch a project on; it needs an active key."""
        return _tagged(actions.update(project_id, {"is_active": True}, conditions.expected()))


@blueprint.route("/projects/<uuid:project_id>/deactivate")
class Deactivation(MethodView):
    """Switching off."""

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.response(200, ProjectView)
    def post(self, project_id: UUID) -> ShownProject:
        """Switch a project off; its running requests are cut, its tokens stay."""
        return _tagged(actions.update(project_id, {"is_active": False}, conditions.expected()))


@blueprint.route("/projects/<uuid:project_id>/tokens/revoke")
class TokensOfProject(MethodView):
    """All tokens of a project."""

    @blueprint.response(200, RevokedTokens)
    def post(self, project_id: UUID) -> dict[str, int]:
        """Revoke all tokens of a project for good; the project stays as it is."""
        return {"revoked": actions.revoke_tokens(project_id)}
