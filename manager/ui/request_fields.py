"""What requests are searched by."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from manager.api.requests import RequestQuery
from manager.ui.forms import Choice, Field, Kind
from manager.ui.named_project import NamedProject, UtcMoment, project_field
from manager.ui.spans import FROM, SPAN, UNTIL, Spanned
from shared.models import Outcome

OUTCOMES = {
    Outcome.FINISHED: "Finished",
    Outcome.CLIENT_ABORTED: "The client went away",
    Outcome.UPSTREAM_ABORTED: "The provider failed",
    Outcome.CUT: "Cut here",
    Outcome.REFUSED: "Refused here",
    Outcome.LOST: "Lost with its worker",
}
_CLASSES = {"2": "Success (2xx)", "3": "Redirect (3xx)", "4": "Client error (4xx)", "5": "Server error (5xx)"}
_CLASSES |= {"0": "No answer sent"}


class AnyProject(NamedProject):
    """A project by its id, which may be gone by now, or by its exact name; loads its id."""

    def _validated(self, value: Any) -> UUID:
        try:
            return UUID(str(value))
        except ValueError:
            return super()._validated(value)


class RequestSearch(Spanned, RequestQuery):
    """Which page, of which requests."""

    project_id = AnyProject(load_default=None)
    since = UtcMoment(load_default=None, data_key="from")
    until = UtcMoment(load_default=None)


FIRST: Sequence[Field] = (
    SPAN,
    project_field(),
    Field("model", "Model"),
    Field("status_class", "Status", kind=Kind.SELECT, choices=list(map(Choice, _CLASSES, _CLASSES.values()))),
    Field("outcome", "Outcome", kind=Kind.SELECT, choices=[Choice(each, label) for each, label in OUTCOMES.items()]),
)
MORE: Sequence[Field] = (
    FROM,
    UNTIL,
    Field("request_id", "Request id"),
    Field("provider_request_id", "Provider's id"),
    Field("token_id", "Token id"),
    Field("upstream_key_id", "Provider key id"),
    Field("provider", "Provider"),
    Field("route", "Route"),
    Field("status", "Exact status", kind=Kind.NUMBER),
    Field("error_code", "Error code"),
    Field("min_duration_ms", "Took at least (ms)", kind=Kind.NUMBER),
    Field("is_stream", "Streamed", kind=Kind.SELECT),
)
