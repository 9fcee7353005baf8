"""A project's keys of its provider: added, changed, rotated, tried, removed."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, db, keys, projects
from manager.actions import ANY, Run
from manager.changes import between
from manager.current import demand, note, now, scope, services
from manager.etags import Expected
from manager.key_probe import ProbeResult
from manager.principals import Role
from manager.tables import Project, UpstreamKey


def add(project_id: UUID, body: Mapping[str, Any], run: Run[UpstreamKey] | None = None) -> UpstreamKey:
    """Add a key to a project. Raises Forbidden, Invalid, Conflict, NotFound."""
    demand(Role.OPERATOR)

    def work(session: Session) -> UpstreamKey:
        project = _project(session, project_id)
        key = keys.add(services().rules, now(), project, **body)
        projects.touch(project, now())
        after = {"after": keys.facts(key)}
        note(session, audit.Action.KEY_CREATE, project_id=project_id, subject_id=key.id, detail=after)
        return key

    key = (run or services().transact)(work)
    services().publish_created(lambda publisher: publisher.publish_project(project_id))
    return key


def update(project_id: UUID, key_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> UpstreamKey:
    """Change what is given; with another `api_key` it is tried again if it was set aside.

    Raises Forbidden, Invalid, Conflict, NotFound, Stale, PublishError.
    """
    demand(Role.OPERATOR)
    action = audit.Action.KEY_ROTATE if "api_key" in body else audit.Action.KEY_UPDATE

    def work(session: Session) -> UpstreamKey:
        project, key = _expected(session, project_id, key_id, expected)
        before, state = keys.facts(key), keys.state(key)
        keys.update(services().rules, project, key, **body)
        if keys.state(key) == state:
            return key
        projects.touch(project, now())
        differs = between(before, keys.facts(key)) or {}
        note(session, action, project_id=project_id, subject_id=key_id, detail=differs)
        return key

    key = services().transact(work)
    services().publisher.publish_project(project_id)
    if "api_key" in body:
        services().health.forgive(key_id)
    return key


def delete(project_id: UUID, key_id: UUID, expected: Expected = ANY) -> None:
    """Remove a key, but not the last active one of an active project. Raises as `update`."""
    demand(Role.OPERATOR)

    def work(session: Session) -> None:
        project, key = _expected(session, project_id, key_id, expected)
        before = {"before": keys.facts(key)}
        keys.delete(project, key)
        projects.touch(project, now())
        note(session, audit.Action.KEY_DELETE, project_id=project_id, subject_id=key_id, detail=before)

    services().transact(work)
    services().publisher.publish_project(project_id)
    services().health.forgive(key_id)


def test(project_id: UUID, key_id: UUID) -> ProbeResult:
    """Ask the provider whether it takes a key, with a request that costs nothing. Raises Forbidden, NotFound."""
    demand(Role.OPERATOR)
    with db.reading(services().sessions) as session:
        project = projects.get(session, project_id, scope=scope())
        key = keys.get(project, key_id)
    result = _told(keys.probe(services().rules, project, key, services().settings))

    def work(session: Session) -> None:
        detail = {"state": result.state, "status": result.status, "reason": result.reason}
        note(session, audit.Action.KEY_TEST, project_id=project_id, subject_id=key_id, detail=detail)

    services().transact(work)
    return result


def _told(result: ProbeResult) -> ProbeResult:
    """Return what may be told: not whether a port is open, or how long it took to say no."""
    return ProbeResult("unreachable", "unreachable") if result.state == "unreachable" else result


def _project(session: Session, project_id: UUID) -> Project:
    """Return a project whose keys are to be changed, locked."""
    project = projects.get(session, project_id, scope=scope(), for_update=True)
    projects.check_is_there(project)
    return project


def _expected(session: Session, project_id: UUID, key_id: UUID, expected: Expected) -> tuple[Project, UpstreamKey]:
    project = _project(session, project_id)
    key = keys.get(project, key_id)
    expected.check(keys.state(key))
    return project, key
