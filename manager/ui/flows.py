"""What is recorded of a request: heads, and bodies if its project has them captured; and decisions about held ones."""

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from manager import live
from manager.actions import flows as flow_actions
from manager.actions import live as actions
from manager.api.flows import text_of
from manager.api.live import CutShape, ResumeShape
from manager.current import now, scope, services
from manager.errors import NotFound
from manager.live import One
from manager.principals import Role
from manager.ui.addresses import in_mitmweb
from manager.ui.blueprint import blueprint, needs
from manager.ui.form_fields import Blank, Field, Kind
from manager.ui.forms import Form, handled
from manager.ui.live import about
from shared.flow_schema import FlowRecord, Message

_REASON = Field("reason", "Reason", help="For the audit. The client is not told.")
_BODY = Field(
    "body",
    "Body",
    help="What stands in brackets, such as [email 1], was hidden; the original is put back where it still stands.",
    kind=Kind.TEXTAREA,
    blank=Blank.EMPTY,
)


@blueprint.get("/requests/<request_id>/flow", endpoint="flow")
@needs(Role.AUDITOR)
def flow(request_id: str) -> str:
    """Show what is recorded of a request; that its bodies were read is audited."""
    try:
        record: FlowRecord | None = flow_actions.read(request_id)
    except NotFound:
        record = None
    sides = [] if record is None else [_side("Request", record.request), _side("Answer", record.response)]
    context = {"record": record, "sides": sides, "mitmweb": in_mitmweb(request_id)}
    return render_template("requests/flow.html", request_id=request_id, **context)


@blueprint.route("/live/<request_id>", methods=["GET", "POST"], endpoint="held")
@needs(Role.OPERATOR)
def held(request_id: str) -> ResponseReturnValue:
    """Show a request that is held, and let it go out, as it is or with another body."""

    def act(body: Mapping[str, Any]) -> ResponseReturnValue:
        actions.resume(request_id, body["reason"], _as_shown(found, body["body"]))
        return _decided("The request goes out.")

    try:
        found = _on_hold(request_id)
        shown = text_of(found.record.request) if found.record is not None else None
        fields = (_REASON,) if shown is None else (_BODY, _REASON)
        form = Form(ResumeShape(), fields, values={"body": shown})
        return handled(form, "held.html", act, found=found, shown=shown, **_told(request_id))
    except NotFound:
        return _gone()


@blueprint.route("/live/<request_id>/refuse", methods=["GET", "POST"], endpoint="refuse")
@needs(Role.OPERATOR)
def refuse(request_id: str) -> ResponseReturnValue:
    """Ask whether a held request is to be refused, and refuse it."""

    def act(body: Mapping[str, Any]) -> ResponseReturnValue:
        actions.refuse(request_id, body["reason"])
        return _decided("The request is refused.")

    try:
        live.on_hold(services().redis, request_id, scope())
        return handled(Form(CutShape(), (_REASON,)), "refuse.html", act, **_told(request_id))
    except NotFound:
        return _gone()


def _on_hold(request_id: str) -> One:
    live.on_hold(services().redis, request_id, scope())
    return flow_actions.read_live(request_id)


def _as_shown(found: One, sent: str | None) -> str | None:
    """Return a body without the line ends that browsers make of others."""
    before = text_of(found.record.request) if found.record is not None else None
    return sent if sent is None or before is None or "\r" in before else sent.replace("\r\n", "\n")


def _told(request_id: str) -> dict[str, Any]:
    return {"request_id": request_id, "about": about(request_id), "now": now(), "mitmweb": in_mitmweb(request_id)}


def _side(name: str, message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    known = {"headers": message.headers, "note": message.note, "is_cut": message.is_cut, "size": message.size}
    return {"name": name, "text": text_of(message), **known}


def _decided(said: str) -> ResponseReturnValue:
    flash(said, "success")
    return redirect(url_for("ui.live"), 303)


def _gone() -> ResponseReturnValue:
    flash("Nobody waits for a decision about this request any more.", "info")
    return redirect(url_for("ui.live"), 303)
