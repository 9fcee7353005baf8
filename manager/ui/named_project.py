"""Fields of forms that take what people type: the name of a project in the place of its id, and moments in UTC."""

from datetime import datetime
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import request
from werkzeug.datastructures import MultiDict

from manager import db, project_choice
from manager.api.fields import Moment
from manager.current import scope, services
from manager.errors import NotFound
from manager.ui.form_values import in_utc
from manager.ui.forms import Field

_UNKNOWN = "There is no project of this name, or none that you may see."


class NamedProject(ma.fields.UUID):
    """A project by its id, or by its exact name; loads its id."""

    def _validated(self, value: Any) -> UUID:
        try:
            with db.reading(services().sessions) as session:
                return project_choice.find(session, str(value), scope())
        except NotFound:
            raise ma.ValidationError(_UNKNOWN) from None


class UtcMoment(Moment):
    """A moment, in UTC if no zone is said."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        return super()._deserialize(in_utc(value) if isinstance(value, str) else value, attr, data, **kwargs)


def project_field(label: str = "Project", help: str = "", name: str = "project_id") -> Field:
    """Return a field that asks for a project; the page proposes names, see tokens/parts.html."""
    return Field(name, label, help, attributes={"list": "project-names", "autocomplete": "off", "dir": "auto"})


def as_typed() -> MultiDict[str, str]:
    """Return what was asked of a list in the address, as people would have typed it: a project by its name."""
    sent = MultiDict(request.args)
    if sent.get("project_id"):
        sent["project_id"] = name_of(sent["project_id"])
    return sent


def name_of(text: str) -> str:
    """Return the name of the project that a text says, the text itself if it says none."""
    try:
        with db.reading(services().sessions) as session:
            found = project_choice.find(session, text, scope())
            return project_choice.name(session, found)
    except NotFound:
        return text
