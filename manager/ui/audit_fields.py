"""What events of the audit are searched by."""

from collections.abc import Sequence

from manager.api.audit import AuditQuery, ExportQuery
from manager.audit import Action
from manager.ui.forms import Choice, Field, Kind
from manager.ui.named_project import UtcMoment, project_field
from manager.ui.request_fields import AnyProject
from manager.ui.spans import FROM, SPAN, UNTIL, Spanned

_OUTCOMES = {"success": "Success", "failed": "Failed", "failure": "Failure of a job", "denied": "Denied"}


class AuditSearch(Spanned, AuditQuery):
    """Which page, of which events."""

    project_id = AnyProject(load_default=None)
    since = UtcMoment(load_default=None, data_key="from")
    until = UtcMoment(load_default=None)


class ExportSearch(Spanned, ExportQuery):
    """Which events, and how they are written."""

    project_id = AnyProject(load_default=None)
    since = UtcMoment(load_default=None, data_key="from")
    until = UtcMoment(load_default=None)


FIRST: Sequence[Field] = (
    SPAN,
    Field("action", "Action", kind=Kind.SELECT, choices=[Choice(each.value, each.value) for each in Action]),
    Field("actor", "Who", attributes={"dir": "auto"}),
    project_field(),
    Field("text", "Text", attributes={"dir": "auto"}),
)
MORE: Sequence[Field] = (
    FROM,
    UNTIL,
    Field("outcome", "Outcome", kind=Kind.SELECT, choices=list(map(Choice, _OUTCOMES, _OUTCOMES.values()))),
    Field("request_id", "Request id"),
    Field("token_id", "Token id"),
    Field("subject_id", "Id of another subject"),
    Field("actor_id", "Operator id"),
)
