"""Light, dark, or as the visitor's system has it."""

from flask import Flask, make_response, redirect, request
from flask.typing import ResponseReturnValue

from manager.ui import cookies
from manager.ui.blueprint import blueprint, for_everybody
from manager.ui.session import local

THEMES = {"light": "Light", "dark": "Dark", "auto": "Auto"}


def teach(app: Flask) -> None:
    """Tell templates which theme it is."""
    app.context_processor(lambda: {"theme": chosen(), "themes": THEMES})


def chosen() -> str:
    """Return the theme that the visitor wants."""
    found = request.cookies.get(cookies.THEME, "")
    return found if found in THEMES else "auto"


@blueprint.post("/theme")
@for_everybody
def choose_theme() -> ResponseReturnValue:
    """Keep another theme, and go back. (Scripts keep it by themselves.)"""
    wanted, back = request.form.get("theme", ""), request.form.get("next", "")
    response = make_response(redirect("/ui/sign-in" if back.startswith("/ui/sign-in") else local(back), 303))
    cookies.keep_theme(response, wanted if wanted in THEMES else "auto")
    return response
