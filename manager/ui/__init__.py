"""The admin UI under /ui: pages that call what the API calls. What may be, and what not, is decided there."""

from flask import Flask, Response, redirect, url_for
from jinja2 import StrictUndefined

from manager.ui import (
    answers,
    assets,
    audit,
    audit_chain,
    choice,
    configuration,
    cookies,
    dashboard,
    events,
    flows,
    help,
    letting_in,
    limit_words,
    limits,
    live,
    me,
    memory,
    nav,
    once,
    operator_changes,
    operators,
    people,
    prices,
    project_ends,
    project_forms,
    project_keys,
    projects,
    providers,
    requests,
    rules,
    session,
    sessions,
    shown,
    sign_in,
    status,
    theme,
    token_changes,
    token_new,
    token_page,
    token_revoking,
    tokens,
)
from manager.ui.blueprint import blueprint
from shared.settings import Settings

# Rooms whose views are on the blueprint; what is imported is what there is.
PAGES = (
    audit,
    audit_chain,
    configuration,
    dashboard,
    events,
    flows,
    help,
    limits,
    live,
    me,
    operator_changes,
    operators,
    people,
    prices,
    project_ends,
    project_forms,
    project_keys,
    projects,
    providers,
    requests,
    rules,
    sessions,
    sign_in,
    status,
    theme,
    token_changes,
    token_new,
    token_page,
    token_revoking,
    tokens,
)
PATH = "/ui"
# Who is signed in is found out by a cookie.
DOORS = {PATH: session.enter}


def register(app: Flask, settings: Settings) -> None:
    """Add every page, and what they look like; the API must have been registered."""
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    cookies.keep_pages(app, settings.token_pepper)
    for room in (assets, choice, events, letting_in, limit_words, memory, nav, once, shown, theme):
        room.teach(app)
    app.register_blueprint(blueprint)
    app.register_blueprint(assets.blueprint)
    app.add_url_rule("/", "root", _to_the_ui)
    answers.dress(app)


def _to_the_ui() -> Response:
    return redirect(url_for("ui.home"))  # type: ignore[return-value]
