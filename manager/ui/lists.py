"""Lists: what is asked of one in the address is checked by the schema of the API, and shown again in the filters.

    FILTERS = (Field("name_contains", "Name"), Field("is_active", "State", kind=Kind.SELECT, choices=…))

    @blueprint.get("/projects")
    def projects() -> ResponseReturnValue:
        return listed(ProjectQuery(), FILTERS, "projects/list.html", find)

with `find(query) -> {"page": …}`, where `query` is what the schema has loaded. What is left empty is not asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import marshmallow as ma
from flask import render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from manager.errors import Invalid
from manager.pages import Page
from manager.ui.forms import Field, Form

_NOTHING: Page[Any] = Page((), None)
# What is no filter.
BESIDE = frozenset(("sort", "cursor", "limit"))


def listed(
    schema: ma.Schema,
    filters: Sequence[Field],
    template: str,
    find: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    sent: "MultiDict[str, str] | None" = None,
    **context: Any,
) -> ResponseReturnValue:
    """Show what is found, or (422) an empty list and what is wrong with the question.

    `sent` is what the filters show, if that is not what was asked for. The template gets the context, what `find`
    returns, `form` (of the filters), `query` (None if it is wrong), `sort`, and `is_filtered`: whether anything but
    order and place was asked for.
    """
    form = Form(schema, filters, sent=request.args if sent is None else sent)
    asked = {name: value for name, value in request.args.items() if value.strip()}
    first = schema.fields["sort"].load_default if "sort" in schema.fields else ""
    said: dict[str, Any] = {**context, "form": form, "sort": asked.get("sort") or first}
    said["is_filtered"] = bool(asked.keys() - BESIDE)
    query = _loaded(form, schema, asked)
    if query is not None:
        try:
            return render_template(template, **said, query=query, **find(query))
        except Invalid as error:
            form.refuse(error)
    return render_template(template, **said, query=None, page=_NOTHING), 422


def _loaded(form: Form, schema: ma.Schema, asked: Mapping[str, str]) -> dict[str, Any] | None:
    repeated = [name for name in request.args if len(request.args.getlist(name)) > 1]
    try:
        if repeated:
            raise ma.ValidationError({name: ["Must be given once."] for name in repeated})
        found: dict[str, Any] = schema.load(asked, unknown=ma.RAISE)
    except ma.ValidationError as error:
        form.fault(error)
        return None
    return found
