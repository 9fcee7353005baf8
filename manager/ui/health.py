"""How the parts of the product are, in a line each: what is fine, what lags behind, what is set aside, what failed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db, job_runs, status
from manager.current import Services
from manager.principals import EVERYTHING, Scope
from manager.status import Breaker
from manager.tables import Project, UpstreamKey
from manager.ui.memory import Memory
from shared import redis_schema

_SECONDS = 3.0
# What is told of many by name.
_NAMED = 5
# Of somebody who sees some projects: whose keys are looked at.
_MOST_KEYS = 2000
_KEY = redis_schema.key_subject("")


@dataclass(frozen=True)
class Line:
    """A part, its state in a word that has a colour (macros.html, badge), and what there is to say."""

    part: str
    state: str
    text: str


def lines(services: Services, memory: Memory, scope: Scope) -> Sequence[Line]:
    """Return how things are; who sees some projects only is told of their keys and of nothing else."""
    if scope == EVERYTHING:
        return memory.get("health", _SECONDS, lambda: list(_of_everything(services)))
    return memory.get(("health", scope), _SECONDS, lambda: [_own_keys(services, scope)])


def _of_everything(services: Services) -> Iterator[Line]:
    checks = services.readiness.checks()
    data_plane = status.of_redis(services.redis) if checks["redis"] else None
    yield _database(checks)
    yield _up("Redis", checks["redis"], "answers", "does not answer: requests are refused until it is back")
    if data_plane is not None:
        yield _workers(data_plane["workers"])
        yield _origins([each for each in data_plane["breakers"] if not each.subject.startswith(_KEY)])
        yield _keys(services, [each.subject for each in data_plane["breakers"] if each.subject.startswith(_KEY)])
        yield _usage(data_plane["usage_lag"], data_plane["dead_letters"])
    if checks["schema"]:
        nothing: list[Line] = []
        yield from _safely(lambda: _stored(services, checks["published"]), nothing)


def _stored(services: Services, is_published: bool) -> list[Line]:
    with db.reading(services.sessions) as session:
        return [_published(is_published, status.unpublished(session)), _jobs(job_runs.all_latest(session))]


def _database(checks: Mapping[str, bool]) -> Line:
    if checks["database"] and not checks["schema"]:
        return Line("Database", "failed", "has the schema of another release")
    return _up("Database", checks["database"], "answers", "does not answer")


def _up(part: str, is_up: bool, well: str, badly: str) -> Line:
    return Line(part, "ok" if is_up else "down", well if is_up else badly)


def _workers(found: Sequence[Mapping[str, Any]]) -> Line:
    if not found:
        return Line("Workers", "down", "none has been heard of in the last seconds")
    return Line("Workers", "ok", _count(len(found), "worker is", "workers are") + " serving requests")


def _origins(found: Sequence[Breaker]) -> Line:
    if not found:
        return Line("Providers", "ok", "none is set aside")
    named = _some([each.subject.partition(":")[2] for each in found])
    return Line("Providers", "set_aside", f"set aside after failures: {named}")


def _keys(services: Services, subjects: Sequence[str]) -> Line:
    if not subjects:
        return Line("Keys", "ok", "none is set aside")
    named = _safely(lambda: _names_of_keys(services, subjects), [f"{len(subjects)} keys"])
    return Line("Keys", "set_aside", f"set aside: {_some(named)}")


def _own_keys(services: Services, scope: Scope) -> Line:
    query = sa.select(UpstreamKey.id).where(UpstreamKey.project_id.in_(scope.project_ids or ()), UpstreamKey.is_active)
    with db.reading(services.sessions) as session:
        ids = session.scalars(query.limit(_MOST_KEYS)).all()
    found = services.health.of(redis_schema.key_subject(str(key_id)) for key_id in ids)
    if any(health is None for health in found.values()):
        return Line("Keys", "unknown", "Redis does not answer, or says something that cannot be read")
    return _keys(services, [subject for subject, health in found.items() if health and health.state != "ok"])


def names_of(services: Services, subjects: Sequence[str]) -> Mapping[str, str]:
    """Return how people know what is set aside, by its subject; what is gone, or cannot be asked for, is left out."""
    origins = {each: each.partition(":")[2] for each in subjects if not each.startswith(_KEY)}
    keys = [each for each in subjects if each.startswith(_KEY)]
    return origins | _safely(lambda: _by_subject(services, keys), dict[str, str]())


def _names_of_keys(services: Services, subjects: Sequence[str]) -> list[str]:
    return sorted(_by_subject(services, subjects).values()) or ["keys that are gone"]


def _by_subject(services: Services, subjects: Sequence[str]) -> dict[str, str]:
    ids = [key_id for subject in subjects if (key_id := _id(subject.removeprefix(_KEY)))]
    query = sa.select(UpstreamKey.id, Project.name, UpstreamKey.label, UpstreamKey.masked).join(UpstreamKey.project)
    with db.reading(services.sessions) as session:
        rows = session.execute(query.where(UpstreamKey.id.in_(ids))).all()
    return {f"{_KEY}{key_id}": f"{project} ({label or masked})" for key_id, project, label, masked in rows}


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _usage(lag: int, dead_letters: int) -> Line:
    if dead_letters:
        return Line("Usage", "failed", f"{_count(dead_letters, 'event', 'events')} could not be recorded")
    return Line("Usage", "ok", f"{_count(lag, 'event waits', 'events wait')} to be recorded")


def _published(is_published: bool, unpublished: Mapping[str, int]) -> Line:
    waiting = sum(unpublished.values())
    if waiting:
        return Line("Changes", "pending", f"{_count(waiting, 'change waits', 'changes wait')} to reach the workers")
    return _up("Changes", is_published, "all have reached the workers", "nothing has been published to Redis yet")


def _jobs(runs: Sequence[Any]) -> Line:
    failed = [run.name for run in runs if run.outcome == job_runs.FAILURE]
    if failed:
        return Line("Jobs", "failed", f"the latest run failed: {_some(failed)}")
    return Line("Jobs", "ok", f"{_count(len(runs), 'job has', 'jobs have')} run without failing")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _safely[Found](read: Callable[[], Found], otherwise: Found) -> Found:
    try:
        return read()
    except SQLAlchemyError:
        return otherwise
