"""Limits of everything together: how much of them has been used, and what they are to be."""

from typing import Any

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from manager import db, limits, publications, standing
from manager.actions import limits as actions
from manager.api.limits import GlobalLimits
from manager.current import now, services
from manager.etags import Expected
from manager.principals import Role
from manager.ui.blueprint import blueprint, needs
from manager.ui.edits import Known, edited
from manager.ui.forms import Field, Form, Kind
from manager.ui.told import told
from shared.models import Limit, Scope

_FIELD = Field(
    "limits",
    "Limits",
    "Of all requests of all projects together. Money is in US dollars; days and months are those of UTC.",
    kind=Kind.LIMITS,
    scope=Scope.GLOBAL,
)


@blueprint.get("/limits", endpoint="limits")
@needs(Role.AUDITOR, everything=True)
def everything() -> str:
    """Show the limits of everything together."""
    [standings] = standing.of_each(services().access_redis, [standing.Holder(Scope.GLOBAL, "", _limits())], now())
    return render_template("limits/page.html", standings=standings)


@blueprint.route("/limits/edit", methods=["GET", "POST"])
@needs(Role.ADMIN, everything=True)
def edit_limits() -> ResponseReturnValue:
    """Ask what they are to be, and replace them."""
    counted = _limits()

    def change(body: Any, expected: Expected) -> ResponseReturnValue:
        if body:
            told("The limits were changed.", lambda: actions.replace(body["limits"], expected))
        else:
            flash("There was nothing to change.", "info")
        return redirect(url_for("ui.limits"), 303)

    form = Form(GlobalLimits(), (_FIELD,), values={"limits": limits.shown(counted)})
    return edited(form, Known(actions.state(counted), form.values), "limits/edit.html", change)


def _limits() -> tuple[Limit, ...]:
    with db.reading(services().sessions) as session:
        return publications.global_limits(session)
