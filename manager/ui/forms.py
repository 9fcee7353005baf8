"""Forms: fields of a schema of the API, what was sent of them, and what is wrong with it. The rules are the schema's.

    FIELDS = (
        Field("name", "Name", help="As people call it."),
        Field("policy.allowed_models", "Allowed models", kind=Kind.TAGS),
        Field("limits", "Limits", kind=Kind.LIMITS),
    )

    @blueprint.route("/projects/new", methods=["GET", "POST"])
    def new_project() -> ResponseReturnValue:
        form = Form(NewProject(), FIELDS)
        return handled(form, "project_new.html", create)

with `create(body) -> ResponseReturnValue`, where `body` is what the schema has loaded, and in the template
`{{ field(form, "name") }}` from forms.html. A form of something that there is gets its `values`, as the API shows them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import marshmallow as ma
from flask import render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from manager.errors import Conflict, DomainError, Invalid, ProjectInactive, Stale
from manager.ui import form_errors, form_values
from manager.ui.form_fields import Blank, Choice, Field, Kind
from manager.ui.form_rules import attributes_of, choices_of, is_required, schema_field
from manager.ui.form_values import LEFT_OUT
from manager.ui.widgets import Widget

__all__ = ["Blank", "Choice", "Field", "Form", "Kind", "body_of", "confirmed", "handled"]

type Sent = MultiDict[str, str]


class Form:
    """Fields, and what is in them: what was sent (by POST, unless it is given), else `values`, else nothing."""

    def __init__(
        self,
        schema: ma.Schema,
        fields: Sequence[Field],
        *,
        values: Mapping[str, Any] | None = None,
        sent: Sent | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.schema = schema
        self.fields = {field.name: field for field in fields}
        self.values = values or {}
        self.sent = request.form if sent is None and request.method == "POST" else sent
        self.errors: dict[str, list[str]] = {name: list(reasons) for name, reasons in (errors or {}).items()}
        self.alerts: list[str] = []
        self.present: dict[str, str] = {}

    def __getitem__(self, name: str) -> Widget:
        """Return what a template shows of a field. Raises KeyError if there is none of this name."""
        field = self.fields[name]
        rule = schema_field(self.schema, name)
        shown = form_values.sent_back(field, self.sent) if self.sent else form_values.shown(field, self.values)
        attributes = attributes_of(rule, field)
        choices = field.choices or choices_of(rule)
        required = is_required(rule, field)
        return Widget(
            field, shown, attributes, choices, required, tuple(self.errors.get(name, ())), self.present.get(name)
        )

    def load(self, body: Mapping[str, Any] | None = None) -> Any:
        """Return the body that was sent (or this one) as the schema loads it; None if it does not: `errors` say why."""
        try:
            return self.schema.load(body_of(self) if body is None else body, unknown=ma.RAISE)
        except ma.ValidationError as error:
            self.fault(error)
            return None

    def fault(self, error: ma.ValidationError) -> None:
        """Show what a schema says: at the fields that it names."""
        self._note(form_errors.of_schema(self.fields, error.messages))

    def refuse(self, error: DomainError) -> None:
        """Show what the domain says no to: at its field if it names one."""
        if isinstance(error, Invalid):
            self._note(form_errors.of_domain(self.fields, error.field, str(error)))
        else:
            self.alerts.append(str(error))

    def compare(self, wanted: Mapping[str, Any]) -> None:
        """Show beside what was sent what there is, where that is another thing."""
        for name, field in self.fields.items():
            if name.partition(".")[0] in wanted and self[name].value != form_values.shown(field, self.values):
                self.present[name] = form_values.told(field, self.values)

    def _note(self, found: form_errors.Faults) -> None:
        for name, reasons in found.by_field.items():
            self.errors.setdefault(name, []).extend(reasons)
        self.alerts += found.others


def body_of(form: Form) -> dict[str, Any]:
    """Return what was sent as the body that the API would be sent."""
    body: dict[str, Any] = {}
    for field in form.fields.values():
        found = form_values.read(field, form.sent or MultiDict(), schema_field(form.schema, field.name))
        if found is not LEFT_OUT:
            *above, last = field.name.split(".")
            place = body
            for name in above:
                place = place.setdefault(name, {})
            place[last] = found
    return body


def handled(
    form: Form, template: str, act: Callable[[Any], ResponseReturnValue], **context: Any
) -> ResponseReturnValue:
    """Show a form; when it was sent, act on its body. If that cannot be, show it again with what is wrong (422)."""
    if form.sent is None:
        return render_template(template, form=form, **context)
    body = form.load()
    if body is not None:
        try:
            return act(body)
        except (Invalid, Conflict, ProjectInactive, Stale) as error:
            form.refuse(error)
    return render_template(template, form=form, **context), 422


def confirmed(name: str) -> str:
    """Return what is wrong with the name that was typed to confirm something; empty if it is right."""
    return "" if request.form.get("typed", "").strip() == name.strip() else "That is another name."
