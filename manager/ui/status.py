"""How the product is, in full: stores, workers, what lags behind or is set aside, jobs, events that are stuck."""

import redis
from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import dead_letters, status
from manager.actions import dead_letters as actions
from manager.current import scope, services
from manager.pages import Page
from manager.principals import EVERYTHING, Role
from manager.ui import health
from manager.ui.blueprint import blueprint, needs, of_everything
from manager.ui.memory import Memory
from manager.ui.told import told

_LETTERS = 50


@blueprint.get("/status", endpoint="status")
def show_status() -> str:
    """Show how things are now; who sees some projects only is told of their keys."""
    lines = health.lines(services(), Memory(), scope())
    if scope() != EVERYTHING:
        return render_template("status/page.html", lines=lines, version=status.VERSION, plane=None, stored=None)
    checks = services().readiness.checks()
    plane = status.of_redis(services().redis) if checks["redis"] else None
    stored = status.of_database(services().sessions) if checks["schema"] else None
    subjects = [each.subject for each in plane["breakers"]] if plane else []
    named = health.names_of(services(), subjects)
    context = {"plane": plane, "stored": stored, "named": named, "version": status.VERSION}
    return render_template("status/page.html", lines=lines, **context)


@blueprint.get("/status/unrecorded", endpoint="dead_letters")
@of_everything
def unrecorded() -> str:
    """Show usage events that could not be recorded, newest first."""
    try:
        letters, following = dead_letters.newest(services().redis, _LETTERS, request.args.get("cursor") or None)
    except redis.RedisError:
        return render_template("status/unrecorded.html", page=None)
    return render_template("status/unrecorded.html", page=Page(letters, following))


@blueprint.post("/status/unrecorded/<letter_id>/retry")
@needs(Role.ADMIN)
@of_everything
def retry_letter(letter_id: str) -> ResponseReturnValue:
    """Hand an event to the collector once more."""
    told("The event was handed in again. If it cannot be recorded it comes back.", lambda: actions.retry(letter_id))
    return redirect(url_for("ui.dead_letters"), 303)


@blueprint.route("/status/unrecorded/<letter_id>/delete", methods=["GET", "POST"])
@needs(Role.ADMIN)
@of_everything
def delete_letter(letter_id: str) -> ResponseReturnValue:
    """Ask whether an event is to be thrown away, and do so."""
    if request.method == "GET":
        return render_template("status/delete.html", letter_id=letter_id)
    told("The event was thrown away.", lambda: actions.delete(letter_id))
    return redirect(url_for("ui.dead_letters"), 303)
