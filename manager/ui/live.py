"""The live page: what is in flight, and how operators cut it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import flash, get_template_attribute, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, live, names
from manager.actions import live as actions
from manager.api.live import CutShape
from manager.current import now, scope, services
from manager.errors import NotFound
from manager.live import Picture
from manager.names import Names
from manager.principals import EVERYTHING, Role
from manager.ui.addresses import in_mitmweb
from manager.ui.blueprint import blueprint, needs
from manager.ui.choice import Choice, chosen
from manager.ui.form_fields import Field
from manager.ui.forms import Form, handled
from manager.ui.nav import may
from manager.ui.regions import Region, TableRegion
from shared.live_schema import RunningRequest, State

# So many are shown, the oldest ones.
MOST_SHOWN = 200
_FIELDS = (Field("reason", "Reason", help="For the audit. The client is not told."),)


@blueprint.get("/live", endpoint="live")
def live_page() -> ResponseReturnValue:
    """Show what is in flight."""
    choice = chosen(request.args)
    found = live.look(services().redis, choice.scope)
    shown = {region.id: region for region in _regions(found)}
    return render_template("live.html", choice=choice, regions=shown)


@blueprint.route("/live/<request_id>/cut", methods=["GET", "POST"])
@needs(Role.OPERATOR)
def cut(request_id: str) -> ResponseReturnValue:
    """Ask whether a request is to be cut, and cut it."""

    def act(body: Mapping[str, Any]) -> ResponseReturnValue:
        actions.cut(request_id, body["reason"])
        flash(f"The request {request_id} is being cut.", "success")
        return redirect(url_for("ui.live"), 303)

    try:
        known = about(request_id)
        return handled(Form(CutShape(), _FIELDS), "cut.html", act, request_id=request_id, about=known, now=now())
    except NotFound:
        # Who may see some projects only may have asked for another one's, which the audit is to hear of.
        if scope() != EVERYTHING:
            raise
        flash("This request has ended already.", "info")
        return redirect(url_for("ui.live"), 303)


def follow(args: Mapping[str, str]) -> Callable[[], Iterable[Region | TableRegion]]:
    """Return what gives the parts of the page, as parameters of its address ask for it."""
    choice: Choice = chosen(args)

    def regions() -> Iterator[Region | TableRegion]:
        live.watch(services().redis)
        return _regions(live.picture(services().redis, choice.scope))

    return regions


def age(started_at: datetime, at: datetime) -> str:
    """Return how long something has lasted, in seconds or in the two largest units; js/ages.mjs goes on with it."""
    seconds = max(0, int((at - started_at).total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _regions(found: Picture) -> Iterator[Region | TableRegion]:
    # Those first that wait for somebody.
    shown = sorted(found.items, key=lambda each: each.state is not State.HELD)[:MOST_SHOWN]
    lead = get_template_attribute("live_rows.html", "lead")
    yield Region("live-lead", lead(found, len(shown)))
    named, moment, may_cut = _names(shown), now(), may("ui.cut", "POST")
    row = get_template_attribute("live_rows.html", "row")
    yield TableRegion(
        "live-table",
        {
            f"live-{each.request_id}": row(
                each,
                named.get(each.project_id, ""),
                age(each.started_at, moment),
                may_cut,
                in_mitmweb(each.request_id),
            )
            for each in shown
        },
    )


def _names(requests: Sequence[RunningRequest]) -> Mapping[str, str]:
    ids = {each.project_id for each in requests}
    with db.reading(services().sessions) as session:
        found: Names = names.of(session, [UUID(each) for each in ids if _is_id(each)])
    return {str(key): name for key, name in found.projects.items()}


def about(request_id: str) -> dict[str, Any]:
    """Return what is known of a request in flight. Raises NotFound."""
    found = live.find(services().redis, request_id, scope())
    with db.reading(services().sessions) as session:
        named = names.of(session, [found.project_id], [found.token_id])
    told = next((each for each in live.requests(services().redis, scope()) if each.request_id == request_id), None)
    project, label = named.projects.get(found.project_id, ""), named.tokens.get(found.token_id, "")
    return {"project": project, "label": label, "told": told, "age": age(told.started_at, now()) if told else ""}


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
