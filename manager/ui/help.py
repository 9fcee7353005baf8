"""Help: the first steps, what things are called, and what to do about each error code."""

from flask import render_template

from manager.ui import addresses
from manager.ui.blueprint import blueprint
from manager.ui.refusal_advice import ADVICE


@blueprint.get("/help", endpoint="help")
def show_help() -> str:
    """Show it all on one page, so that the browser's own search finds everything."""
    return render_template("help.html", codes=ADVICE, public_url=addresses.proxy_url())
