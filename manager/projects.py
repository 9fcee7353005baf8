"""Projects: who may call which provider, and how. Plain functions over a session; the caller commits.

A project that was deleted stays to be read until it is purged, and so its name stays taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import (
    activity_rows,
    addresses,
    inspections,
    keys,
    limits,
    policies,
    publications,
    revoking,
    texts,
    tombstones,
)
from manager.errors import Conflict, Invalid, NotFound
from manager.pages import Page, order, sorted_page
from manager.principals import EVERYTHING, Scope
from manager.rules import Rules
from manager.tables import DailyUsage, HourlyUsage, Project, Request, Rule, Token, new_id
from shared import models
from shared.inspection import Inspection
from shared.models import Feature, Policy

SORTS = {"created_at": None, "name": Project.name, "updated_at": Project.updated_at}
# What a project is when nothing is said of it.
DEFAULTS: Mapping[str, Any] = {
    "base_url": "",
    "fallback_urls": (),
    "policy": {},
    "limits": (),
    "cors_origins": (),
    "features": {},
    "inspection": {},
}


def create(
    session: Session, rules: Rules, now: datetime, *, name: str, api_key: str, provider: str = "openai", **settings: Any
) -> Project:
    """Add a project with its first key; `settings` as in `update`. Raises Invalid, Conflict."""
    if provider not in rules.table.providers:
        raise Invalid("provider", f"Unknown provider; known are {', '.join(sorted(rules.table.providers))}.")
    project = Project(
        id=new_id(),
        name=texts.check_name(name, "name"),
        provider=provider,
        base_url="",
        fallback_urls=[],
        policy=Policy(),
        cors_origins=[],
        features={},
        limits=(),
        inspection=Inspection(),
        is_active=True,
        version=1,
        published_version=0,
        created_at=now,
        updated_at=now,
    )
    _set(project, rules, settings)
    keys.add(rules, now, project, api_key=api_key)
    session.add(project)
    _flush(session)
    return project


def get(session: Session, project_id: UUID, *, scope: Scope = EVERYTHING, for_update: bool = False) -> Project:
    """Return a project, locked against other changes if it is to be changed. Raises NotFound."""
    scope.check(project_id)
    # What the session knows already may be older than the lock.
    project = session.get(Project, project_id, with_for_update=for_update, populate_existing=for_update)
    if project is None:
        raise NotFound("There is no such project.")
    return project


def list_page(
    session: Session,
    limit: int,
    cursor: str | None,
    *,
    scope: Scope = EVERYTHING,
    sort: str = "-created_at",
    deleted: bool = False,
    **wanted: Any,
) -> Page[Project]:
    """Return a page of projects, newest first, or of those that were deleted. Raises Invalid.

    Filters, unless None: provider, is_active, name_contains, name_prefix (both by exact letters).
    """
    query = sa.select(Project).where(Project.deleted_at.is_not(None) if deleted else Project.deleted_at.is_(None))
    if scope.project_ids is not None:
        query = query.where(Project.id.in_(scope.project_ids))
    for name in ("provider", "is_active"):
        if wanted.get(name) is not None:
            query = query.where(getattr(Project, name) == wanted[name])
    query = texts.matching(session, query, Project.name, wanted.get("name_contains"), wanted.get("name_prefix"))
    return sorted_page(session, query, Project.id, order(sort, SORTS), limit, cursor)


def facts(project: Project) -> dict[str, Any]:
    """Return what the audit may tell of a project's settings."""
    return {
        "name": project.name,
        "provider": project.provider,
        "base_url": project.base_url,
        "fallback_urls": list(project.fallback_urls),
        "policy": asdict(project.policy),
        "cors_origins": list(project.cors_origins),
        "features": dict(project.features),
        "inspection": inspections.shown(project.inspection),
    }


def update(session: Session, rules: Rules, now: datetime, project: Project, **changes: Any) -> None:
    """Change what is given; each setting is replaced as a whole; what is as it was is no change.

    There are name, is_active, api_key (which takes the place of the first key), and the settings base_url,
    fallback_urls, cors_origins, features (None for the provider's default), policy, limits and inspection.

    Raises Invalid, Conflict.
    """
    check_is_there(project)
    before = _all(project)
    if "name" in changes:
        project.name = texts.check_name(changes["name"], "name")
    _set(project, rules, changes)
    if "api_key" in changes:
        keys.replace_first(rules, now, project, changes["api_key"])
    if "is_active" in changes:
        _set_active(project, changes["is_active"], now)
    if _all(project) != before:
        touch(project, now)
        _flush(session)


def _all(project: Project) -> dict[str, Any]:
    more = {"is_active": project.is_active, "limits": project.limits, "keys": [key.id for key in project.keys]}
    return {**facts(project), **more}


def replace(session: Session, rules: Rules, now: datetime, project: Project, *, name: str, **settings: Any) -> None:
    """Replace name and all settings; one that is not given is as in a new project. Raises Invalid, Conflict."""
    update(session, rules, now, project, name=name, **{**DEFAULTS, **settings})


def check_is_there(project: Project) -> None:
    """Raise Conflict for a project that was deleted."""
    if project.deleted_at is not None:
        raise Conflict("The project was deleted; that is for good.")


def touch(project: Project, now: datetime) -> None:
    """Count a change of the project or of its keys."""
    project.version += 1
    project.updated_at = now


def delete(session: Session, now: datetime, project: Project) -> Sequence[UUID]:
    """Deactivate a project for good: its tokens are revoked; its record and usage stay. Return their ids."""
    _set_active(project, False, now)
    project.deleted_at = project.deleted_at or now
    touch(project, now)
    revoked = revoking.revoke(session, now, Token.project_id == project.id)
    _flush(session)
    return [token_id for _, token_id in revoked]


def purge(session: Session, now: datetime, project: Project) -> int:
    """Remove a project that was deleted, with all that there is of it, usage included. Return how many tokens it had.

    Tombstones stay until Redis has heard of it. Raises Conflict for a project that was not deleted before.
    """
    if project.deleted_at is None:
        raise Conflict("The project was not deleted; delete it first.")
    tokens = session.execute(sa.select(Token.id, Token.version, Token.digest).where(Token.project_id == project.id))
    count = 0
    for token_id, version, digest in tokens.all():
        # A purge is a change like any other: what was published before it is older.
        tombstones.add(session, "token", token_id, version + 1, now, digest)
        count += 1
    tombstones.add(session, "project", project.id, project.version + 1, now)
    for table in (Request, HourlyUsage, DailyUsage, Token):
        owned = sa.delete(table).where(table.project_id == project.id)
        session.execute(owned.execution_options(synchronize_session=False))
    activity_rows.purge(session, project.id)
    if session.scalar(sa.select(sa.exists().where(Rule.project_id == project.id))):
        session.execute(sa.delete(Rule).where(Rule.project_id == project.id))
        publications.touch(session, publications.Name.RULES, now)
    session.delete(project)
    session.flush()
    return count


def base_urls(project: Project, rules: Rules) -> list[str]:
    """Return the URLs that a project's requests go to, in order of preference; see addons/targets.py."""
    provider = rules.table.providers.get(project.provider)
    first = project.base_url or (provider.base_url if provider else "")
    return [url for url in (first, *project.fallback_urls) if url]


def _set(project: Project, rules: Rules, changes: Mapping[str, Any]) -> None:
    if "base_url" in changes:
        project.base_url = addresses.check_base(changes["base_url"], rules)
    if "fallback_urls" in changes:
        project.fallback_urls = addresses.check_fallbacks(changes["fallback_urls"], rules)
    if {"base_url", "fallback_urls"} & set(changes) and _repeats(base_urls(project, rules)):
        raise Invalid("fallback_urls", "Must not contain the base URL itself.")
    if "policy" in changes:
        project.policy = policies.check(changes["policy"])
    if "cors_origins" in changes:
        project.cors_origins = addresses.check_origins(changes["cors_origins"])
    if "limits" in changes:
        project.limits = limits.check(changes["limits"], models.Scope.PROJECT)
    if "inspection" in changes:
        project.inspection = inspections.check(changes["inspection"])
    if "features" in changes:
        project.features = _checked_features(changes["features"])


def _repeats(urls: list[str]) -> bool:
    return len(set(urls)) < len(urls)


def _checked_features(features: Mapping[str, bool | None]) -> dict[str, bool]:
    if unknown := set(features) - set(Feature):
        raise Invalid("features", f"Unknown: {', '.join(sorted(unknown))}; known are {', '.join(Feature)}.")
    return {str(name): is_on for name, is_on in features.items() if is_on is not None}


def _set_active(project: Project, is_active: bool, now: datetime) -> None:
    if is_active and not project.is_active:
        keys.check_usable(project)
    project.deactivated_at = None if is_active else (project.deactivated_at or now)
    project.is_active = is_active


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("There is a project of this name already.") from error
