"""The configuration as it holds, to be read only: it is changed where the service is started."""

from flask import render_template

from manager.ui.blueprint import blueprint, of_everything
from shared import settings as environment
from shared.settings import Plane


@blueprint.get("/settings", endpoint="settings")
@of_everything
def all_settings() -> str:
    """Show every variable, what it is set to, and where that is from; of secrets, whether they are set."""
    return render_template("settings.html", rows=environment.effective(Plane.CONTROL))
