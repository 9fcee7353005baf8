"""/healthz and /readyz: for load balancers and supervisors, without a token and without details."""

from flask import Blueprint

from manager.api.services import services

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, object], int]:
    """Able to work: the database answers with the right schema, Redis answers and has been published to."""
    checks = services().readiness.checks()
    is_ready = all(checks.values())
    states = {name: "ok" if fine else "failed" for name, fine in checks.items()}
    return {"status": "ok" if is_ready else "failed", "checks": states}, 200 if is_ready else 503
