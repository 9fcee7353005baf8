"""/healthz and /readyz: for load balancers and supervisors, without a token and without details."""

import redis
import sqlalchemy as sa
from flask import Blueprint
from sqlalchemy.exc import SQLAlchemyError

from manager import db
from manager.api.services import Services, services

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, object], int]:
    """Able to work: the database answers with the right schema, Redis answers and has been published to."""
    checks = check(services())
    is_ready = all(checks.values())
    states = {name: "ok" if fine else "failed" for name, fine in checks.items()}
    return {"status": "ok" if is_ready else "failed", "checks": states}, 200 if is_ready else 503


def check(parts: Services) -> dict[str, bool]:
    """Ask every part that the service needs."""
    database, schema = _database(parts.engine)
    return {
        "database": database,
        "schema": schema,
        "redis": _redis(parts.redis),
        "published": parts.publisher.is_ready(),
    }


def _database(engine: sa.Engine) -> tuple[bool, bool]:
    try:
        return True, db.is_current(engine)
    except SQLAlchemyError:
        return False, False


def _redis(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
