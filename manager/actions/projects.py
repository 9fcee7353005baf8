"""Projects: made, changed, deleted, purged; and all tokens of one revoked."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, etags, keys, limits, projects, tokens
from manager.actions import ANY, Run
from manager.changes import between
from manager.current import demand, demand_everything, note, now, principal, scope, services, source
from manager.errors import Forbidden
from manager.etags import Expected
from manager.principals import Role
from manager.rules import Rules
from manager.tables import Project, UpstreamKey


def state(row: Project) -> str:
    """Return what a project is at, see manager/etags.py."""
    return etags.state_of(row.id, row.version)


def create(body: Mapping[str, Any], run: Run[Project] | None = None) -> Project:
    """Create a project with its first key. Raises Forbidden, Invalid, Conflict."""
    demand(Role.OPERATOR)
    demand_everything()

    def work(session: Session) -> Project:
        project = projects.create(session, services().rules, now(), **body)
        _demand_admin(("",), _goes_to(project))
        made = {**projects.facts(project), "limits": limits.shown(project.limits)}
        detail = {"after": {**made, "masked_key": project.keys[0].masked}}
        note(session, audit.Action.PROJECT_CREATE, project_id=project.id, detail=detail)
        return project

    project = (run or services().transact)(work)
    services().publish_created(lambda publisher: publisher.publish_project(project.id))
    return project


def update(project_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> Project:
    """Change what is given, see projects.update. Raises Forbidden, Invalid, Conflict, NotFound, Stale, PublishError."""
    return _change(project_id, expected, lambda *known: projects.update(*known, **body))


def replace(project_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> Project:
    """Replace name and settings, see projects.replace. Raises as `update`."""
    return _change(project_id, expected, lambda *known: projects.replace(*known, **body))


def delete(project_id: UUID, expected: Expected = ANY) -> None:
    """Switch a project off for good and revoke its tokens. Raises Forbidden, NotFound, Stale, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> None:
        revoked = projects.delete(session, now(), _expected(session, project_id, expected))
        audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, [(project_id, each) for each in revoked])
        detail = {"revoked_tokens": len(revoked)}
        note(session, audit.Action.PROJECT_DELETE, project_id=project_id, detail=detail)

    services().transact(work)
    services().publisher.publish_project(project_id)
    services().publisher.publish_tokens_of(project_id)


def purge(project_id: UUID, expected: Expected = ANY) -> None:
    """Remove all that there is of a deleted project. Raises Forbidden, Conflict, NotFound, Stale, PublishError."""
    demand(Role.ADMIN)

    def work(session: Session) -> None:
        project = _expected(session, project_id, expected)
        before = {"name": project.name, "provider": project.provider}
        detail = {"before": before, "tokens": projects.purge(session, now(), project)}
        note(session, audit.Action.PROJECT_PURGE, project_id=project_id, detail=detail)

    services().transact(work)
    services().publisher.publish_tombstones()
    services().publisher.publish_rules()


def revoke_tokens(project_id: UUID) -> int:
    """Revoke all tokens of a project for good; return how many. Raises Forbidden, NotFound, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> int:
        projects.get(session, project_id, scope=scope(), for_update=True)
        revoked = tokens.revoke_all(session, now(), scope=scope(), project_id=project_id)
        audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked)
        return len(revoked)

    count = services().transact(work)
    services().publisher.publish_tokens_of(project_id)
    return count


def _expected(session: Session, project_id: UUID, expected: Expected) -> Project:
    """Return a project that is to be changed, locked, if it is what the caller knows."""
    project = projects.get(session, project_id, scope=scope(), for_update=True)
    expected.check(state(project))
    return project


def _demand_admin(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """Raise Forbidden for a change of where keys are sent, unless by an admin: whoever is there gets to see them."""
    if before != after and not principal().role.covers(Role.ADMIN):
        raise Forbidden("Where a provider's keys are sent (base_url, fallback_urls) is for admins to say.")


def _goes_to(project: Project) -> tuple[Any, ...]:
    return project.base_url, *project.fallback_urls


def _change(
    project_id: UUID, expected: Expected, change: Callable[[Session, Rules, datetime, Project], None]
) -> Project:
    demand(Role.OPERATOR)

    def work(session: Session) -> tuple[Project, set[UUID]]:
        project = _expected(session, project_id, expected)
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
        if limits_detail := limits.changed(counted, project.limits):
            note(session, audit.Action.LIMITS_CHANGE, project_id=project_id, detail=limits_detail)
        if project.keys and project.keys[0].id not in known:
            _note_new_key(session, project, first)
        return project, known - {key.id for key in project.keys}

    project, gone = services().transact(work)
    services().publisher.publish_project(project_id)
    services().health.forgive(*gone)
    return project


def _note_new_key(session: Session, project: Project, old: UpstreamKey | None) -> None:
    new = project.keys[0]
    detail = {"before": old and {"id": str(old.id), **keys.facts(old)}, "after": keys.facts(new)}
    note(session, audit.Action.KEY_ROTATE, project_id=project.id, subject_id=new.id, detail=detail)
