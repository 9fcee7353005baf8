"""/manage/status."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import status
from manager.api.blueprint import ManageBlueprint
from manager.api.keys import HealthView
from manager.current import services
from manager.principals import Role

blueprint = ManageBlueprint("status", "What goes on.")
_AWAY = {"description": "Null if Redis is away."}
_GONE = {"description": "Null if the database is away."}


class UnpublishedView(ma.Schema):
    """How many changes are stored and have not been handed to the data plane."""

    projects = ma.fields.Integer()
    tokens = ma.fields.Integer()
    publications = ma.fields.Integer(metadata={"description": "Limits of everything, and prices."})


class BreakerView(ma.Schema):
    """A key or an origin that is set aside."""

    subject = ma.fields.String(metadata={"description": "`key:` and its id, or `origin:` and its URL."})
    health = ma.fields.Nested(HealthView)


class WorkerView(ma.Schema):
    """A worker of the data plane that was heard of in the last seconds."""

    name = ma.fields.String()
    seen_at = ma.fields.AwareDateTime(allow_none=True)


class JobView(ma.Schema):
    """The latest run of a job."""

    name = ma.fields.String()
    started_at = ma.fields.AwareDateTime()
    ended_at = ma.fields.AwareDateTime(allow_none=True)
    outcome = ma.fields.String()
    report = ma.fields.Dict()
    reason = ma.fields.String()


class DataPlaneView(ma.Schema):
    """What Redis tells."""

    usage_lag = ma.fields.Integer(metadata={"description": "Usage events that have not been recorded."})
    dead_letters = ma.fields.Integer()
    running_requests = ma.fields.Integer(metadata={"description": "Those that are held against limits."})
    leases_renewed_at = ma.fields.AwareDateTime(
        allow_none=True, metadata={"description": "When any worker was last heard of."}
    )
    workers = ma.fields.List(ma.fields.Nested(WorkerView))
    breakers = ma.fields.List(ma.fields.Nested(BreakerView))


class ControlPlaneView(ma.Schema):
    """What the database tells."""

    unpublished = ma.fields.Nested(UnpublishedView)
    active_projects = ma.fields.Integer()
    active_tokens = ma.fields.Integer()
    active_keys = ma.fields.Integer()
    jobs = ma.fields.List(ma.fields.Nested(JobView))


class ChecksView(ma.Schema):
    """What is fine, as at /readyz."""

    database = ma.fields.Boolean()
    schema = ma.fields.Boolean()
    redis = ma.fields.Boolean()
    published = ma.fields.Boolean()


class StatusView(ma.Schema):
    """What goes on."""

    version = ma.fields.String()
    is_ready = ma.fields.Boolean()
    checks = ma.fields.Nested(ChecksView)
    data_plane = ma.fields.Nested(DataPlaneView, allow_none=True, metadata=_AWAY)
    control_plane = ma.fields.Nested(ControlPlaneView, allow_none=True, metadata=_GONE)


@blueprint.route("/status")
class Status(MethodView):
    """What goes on."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.response(200, StatusView)
    def get(self) -> dict[str, Any]:
        """Show readiness, workers, what lags behind, what is set aside, and how the jobs went."""
        checks = services().readiness.checks()
        return {
            "version": status.VERSION,
            "is_ready": all(checks.values()),
            "checks": checks,
            "data_plane": status.of_redis(services().redis) if checks["redis"] else None,
            "control_plane": status.of_database(services().sessions) if checks["schema"] else None,
        }
