"""/healthz, /readyz and /metrics: for load balancers, supervisors and Prometheus, without a token, without details."""

from flask import Blueprint, Response

from manager import gauges
from manager.current import services

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


@blueprint.get("/metrics")
def metrics() -> Response:
    """Gauges in Prometheus' text format."""
    body = gauges.exposition(services().redis, services().sessions)
    return Response(body, content_type=gauges.CONTENT_TYPE)
