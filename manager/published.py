"""What the data plane gets to know of each row, before it is encoded.

A row that cannot be encoded must not keep others from being published, nor its own revocation: it is told as inactive,
without its texts. No such row can be made over the API; a restored or edited database may have one.
"""

from dataclasses import replace

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import tables, texts
from shared import logs, models

log = logs.get("published")


def published_project(row: tables.Project) -> models.Project:
    """Return what the data plane gets to know of a project: active keys only, sealed."""
    project = models.Project(
        id=str(row.id),
        provider=row.provider,
        is_active=row.is_active,
        base_url=row.base_url,
        keys=tuple(models.UpstreamKey(str(key.id), key.sealed, key.weight) for key in row.keys if key.is_active),
        version=row.version,
        fallback_urls=tuple(row.fallback_urls),
        policy=row.policy,
        cors_origins=tuple(row.cors_origins),
        features={models.Feature(name): is_on for name, is_on in row.features.items() if name in set(models.Feature)},
        limits=row.limits,
        name=row.name,
        inspection=row.inspection,
    )
    if _can_be_encoded(project):
        return project
    log.error("project_unreadable", project_id=project.id)
    return models.Project(id=project.id, provider="", is_active=False, base_url="", keys=(), version=project.version)


def published_token(row: tables.Token) -> models.Token:
    """Return what the data plane gets to know of a token, and of the secret that it had before."""
    token = models.Token(
        id=str(row.id),
        digest=row.digest,
        project_id=str(row.project_id),
        label=row.label,
        is_active=row.is_active,
        expires_at=row.expires_at,
        max_requests=row.max_requests,
        request_count=row.request_count,
        last_used_at=row.last_used_at,
        version=row.version,
        policy=row.policy,
        limits=row.limits,
        previous_digest=row.previous_digest or "",
        previous_until=row.previous_until,
    )
    if _can_be_encoded(token):
        return token
    log.error("token_unreadable", token_id=token.id)
    return replace(token, is_active=False, label="", policy=models.Policy())


def cors_origins(session: Session) -> list[str]:
    """Return the origins that active projects allow."""
    lists = session.scalars(sa.select(tables.Project.cors_origins).where(tables.Project.is_active)).all()
    return sorted({origin for origins in lists for origin in origins if texts.is_text(origin)})


def _can_be_encoded(record: models.Project | models.Token) -> bool:
    try:
        msgspec.json.encode(record)
    except (TypeError, ValueError):
        return False
    return True
