"""Forms of something that there is: what differs is changed and nothing else, unless somebody changed it meanwhile.

    @blueprint.route("/projects/<uuid:project_id>/edit", methods=["GET", "POST"])
    def edit_project(project_id: UUID) -> ResponseReturnValue:
        known = Known(actions.state(row), ProjectView().dump(row))
        return edited(Form(ProjectChanges(), FIELDS, values=known.values), known, "projects/edit.html", change)

with `change(body, expected) -> ResponseReturnValue`; the body is empty if nothing differs. The template has
`{{ known_state(state) }}` of forms.html in the form: what it is for. If that is not the state any more, the form comes
back with everything that was typed, and with what there is now beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from manager import etags
from manager.errors import Conflict, Invalid, ProjectInactive, Stale
from manager.etags import Expected
from manager.ui import form_values
from manager.ui.forms import Form, body_of

FIELD = "state"
CHANGED = "It has been changed since you opened this page."


@dataclass(frozen=True)
class Known:
    """What there is: its state, see manager/etags.py, and its values as the API shows them."""

    state: str
    values: Mapping[str, Any]


def expected() -> Expected:
    """Return what the form that was sent is for; nothing fits a form that does not say."""
    return Expected(etags.tag(request.form.get(FIELD, ""), b""))


def edited(
    form: Form, known: Known, template: str, change: Callable[[Any, Expected], ResponseReturnValue], **context: Any
) -> ResponseReturnValue:
    """Show a form of what there is; when it was sent, change what differs, or show what is wrong (422, 412).

    The template gets `form` and `state`.
    """
    if form.sent is None:
        return render_template(template, form=form, state=known.state, **context)
    state, status = request.form.get(FIELD, ""), 422
    wanted = differing(form)
    body = form.load(wanted) if wanted else {}
    if body is not None:
        try:
            return change(body, expected())
        except Stale:
            # Whoever sends this once more has seen what it is now.
            state, status = known.state, 412
            form.compare(wanted)
            form.alerts.append(f"{CHANGED} Compare, then save again to put yours in its place.")
        except (Invalid, Conflict, ProjectInactive) as error:
            form.refuse(error)
    return render_template(template, form=form, state=state, **context), status


def differing(form: Form) -> dict[str, Any]:
    """Return what a form would change of the values that it was made of."""
    unchanged = Form(form.schema, tuple(form.fields.values()), sent=_as_sent(form))
    before = body_of(unchanged)
    return {name: value for name, value in body_of(form).items() if value != before.get(name)}


def _as_sent(form: Form) -> "MultiDict[str, str]":
    return MultiDict([pair for field in form.fields.values() for pair in form_values.as_sent(field, form.values)])
