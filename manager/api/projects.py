"""/manage/projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response
from flask.views import MethodView
from sqlalchemy.orm import Session

from manager import audit, db, etags, keys, limits, projects, tokens
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.keys import ShownKey, shown_without_health
from manager.api.limits import changed
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
from manager.api.services import demand, demand_everything, note, now, principal, scope, services, source
from manager.changes import between
from manager.errors import Forbidden
from manager.pages import Page
from manager.principals import Role
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


def _shown(*rows: Project) -> list[ShownProject]:
    urls = {row.id: projects.base_urls(row, services().rules) for row in rows}
    subjects = [key_subject(str(key.id)) for row in rows for key in row.keys]
    subjects += [origin_subject(url) for row in rows for url in urls[row.id]]
    health = services().health.of(subjects)
    return [ShownProject.of(row, urls[row.id], health) for row in rows]


def _shown_without_health(row: Project) -> ShownProject:
    origins = [ShownOrigin(url, None) for url in projects.base_urls(row, services().rules)]
    return ShownProject(row, [shown_without_health(key) for key in row.keys], origins)


def _state(row: Project) -> str:
    return etags.state_of(row.id, row.version)


def _tagged(row: Project) -> ShownProject:
    conditions.show(_state(row))
    return _shown(row)[0]


def _expected(session: Session, project_id: UUID) -> Project:
    """Return a project that is to be changed, locked, if it is what the caller knows."""
    project = projects.get(session, project_id, scope=scope(), for_update=True)
    conditions.expected().check(_state(project))
    return project


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
        return Page(_shown(*found.items), found.next_cursor)

    @blueprint.says(once=True, is_tagged=True, conflicts=True, links=LINKS)
    @blueprint.arguments(NewProject, example={**_EXAMPLE, "api_key": "sk-the-providers-key"})
    @blueprint.response(201, ProjectView)
    def post(self, body: dict[str, Any]) -> ShownProject | Response:
        """Create a project with its first key."""
        demand_everything()

        def create(session: Session) -> Project:
            project = projects.create(session, services().rules, now(), **body)
            _demand_admin(("",), _goes_to(project))
            made = {**projects.facts(project), "limits": limits.shown(project.limits)}
            detail = {"after": {**made, "masked_key": project.keys[0].masked}}
            note(session, audit.Action.PROJECT_CREATE, project_id=project.id, detail=detail)
            return project

        project = once(ProjectView(), create, _shown_without_health, state=_state)
        if isinstance(project, Response):
            return project
        services().publish_created(lambda publisher: publisher.publish_project(project.id))
        return _tagged(project)


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
        return _change(project_id, lambda *known: projects.update(*known, **body))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(ReplacedProject, example=_EXAMPLE)
    @blueprint.response(200, ProjectView)
    def put(self, body: dict[str, Any], project_id: UUID) -> ShownProject:
        """Replace name and settings of a project; its keys and whether it is active stay."""
        return _change(project_id, lambda *known: projects.replace(*known, **body))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(DeletionQuery, location="query")
    @blueprint.response(204)
    def delete(self, query: dict[str, Any], project_id: UUID) -> None:
        """Deactivate a project for good and revoke all its tokens; its usage stays until it is purged."""
        if query["purge"]:
            demand(Role.ADMIN)
            services().transact(lambda session: _purge(session, project_id))
            services().publisher.publish_tombstones()
        else:
            services().transact(lambda session: _delete(session, project_id))
            services().publisher.publish_project(project_id)
            services().publisher.publish_tokens_of(project_id)


@blueprint.route("/projects/<uuid:project_id>/activate")
class Activation(MethodView):
    """Switching on."""

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.response(200, ProjectView)
    def post(self, project_id: UUID) -> ShownProject:
        """Switch a project on; it needs an active key."""
        return _change(project_id, lambda *known: projects.update(*known, is_active=True))


@blueprint.route("/projects/<uuid:project_id>/deactivate")
class Deactivation(MethodView):
    """Switching off."""

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.response(200, ProjectView)
    def post(self, project_id: UUID) -> ShownProject:
        """Switch a project off; its running requests are cut, its tokens stay."""
        return _change(project_id, lambda *known: projects.update(*known, is_active=False))


@blueprint.route("/projects/<uuid:project_id>/tokens/revoke")
class TokensOfProject(MethodView):
    """All tokens of a project."""

    @blueprint.response(200, RevokedTokens)
    def post(self, project_id: UUID) -> dict[str, int]:
        """Revoke all tokens of a project for good; the project stays as it is."""

        def revoke(session: Session) -> int:
            projects.get(session, project_id, scope=scope(), for_update=True)
            revoked = tokens.revoke_all(session, now(), scope=scope(), project_id=project_id)
            audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked)
            return len(revoked)

        count = services().transact(revoke)
        services().publisher.publish_tokens_of(project_id)
        return {"revoked": count}


def _demand_admin(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """Raise Forbidden for a change of where keys are sent, unless by an admin: whoever is there gets to see them."""
    if before != after and not principal().role.covers(Role.ADMIN):
        raise Forbidden("Where a provider's keys are sent (base_url, fallback_urls) is for admins to say.")


def _goes_to(project: Project) -> tuple[Any, ...]:
    return project.base_url, *project.fallback_urls


def _change(project_id: UUID, change: Any) -> ShownProject:
    """Change a project by a function as projects.update; tell the audit and the data plane."""

    def work(session: Session) -> tuple[Project, set[UUID]]:
        project = _expected(session, project_id)
        was_active, known, counted = project.is_active, {key.id for key in project.keys}, project.limits
        before, first = projects.facts(project), project.keys[0] if project.keys else None
        went_to = _goes_to(project)
        change(session, services().rules, now(), project)
        _demand_admin(went_to, _goes_to(project))
        if detail := between(before, projects.facts(project)):
            note(session, audit.Action.PROJECT_UPDATE, project_id=project_id, detail=detail)
        if was_active != project.is_active:
            action = audit.Action.PROJECT_ACTIVATE if project.is_active else audit.Action.PROJECT_DEACTIVATE
            note(session, action, project_id=project_id)
        if limits_detail := changed(counted, project.limits):
            note(session, audit.Action.LIMITS_CHANGE, project_id=project_id, detail=limits_detail)
        gone = known - {key.id for key in project.keys}
        if project.keys and project.keys[0].id not in known:
            _note_new_key(session, project, first)
        return project, gone

    project, gone = services().transact(work)
    services().publisher.publish_project(project_id)
    services().health.forgive(*gone)
    return _tagged(project)


def _note_new_key(session: Session, project: Project, old: Any) -> None:
    new = project.keys[0]
    detail = {"before": old and {"id": str(old.id), **keys.facts(old)}, "after": keys.facts(new)}
    note(session, audit.Action.KEY_ROTATE, project_id=project.id, subject_id=new.id, detail=detail)


def _delete(session: Session, project_id: UUID) -> None:
    revoked = projects.delete(session, now(), _expected(session, project_id))
    audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, [(project_id, each) for each in revoked])
    detail = {"revoked_tokens": len(revoked)}
    note(session, audit.Action.PROJECT_DELETE, project_id=project_id, detail=detail)


def _purge(session: Session, project_id: UUID) -> None:
    project = _expected(session, project_id)
    before = {"name": project.name, "provider": project.provider}
    detail = {"before": before, "tokens": projects.purge(session, now(), project)}
    note(session, audit.Action.PROJECT_PURGE, project_id=project_id, detail=detail)
