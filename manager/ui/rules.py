"""Rules about live requests: listed in their order, made, changed, tried on what was recorded, moved, deleted."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, flow_rules, names
from manager.actions import rules as actions
from manager.actions.rules import Trial
from manager.api.rules import NewRule, RuleChanges, RuleView
from manager.current import scope, services
from manager.errors import Invalid
from manager.etags import Expected
from manager.principals import Role
from manager.rule_check import said
from manager.tables import Rule
from manager.ui.blueprint import blueprint, needs
from manager.ui.edits import Known, edited
from manager.ui.forms import Blank, Choice, Field, Form, Kind, body_of, handled
from manager.ui.named_project import NamedProject, UtcMoment, name_of, project_field
from manager.ui.told import told
from shared.rules_schema import Action, OnDeadline

ACTIONS = {
    Action.ALLOW: "Let it through",
    Action.TAG: "Tag it",
    Action.REDACT: "Show its bodies to nobody",
    Action.HOLD: "Hold it",
    Action.DENY: "Deny it",
}
_DEADLINES = {OnDeadline.REFUSE: "Refuse it", OnDeadline.RELEASE: "Let it go out"}


class NewRuleForm(NewRule):
    """A new rule, as people type it."""

    project_id = NamedProject(allow_none=True)
    expires_at = UtcMoment(allow_none=True)


class RuleChangesForm(RuleChanges):
    """Changes of a rule, as people type them."""

    project_id = NamedProject(allow_none=True)
    expires_at = UtcMoment(allow_none=True)


def _fields() -> tuple[Field, ...]:
    kinds = [Choice(action.value, label) for action, label in ACTIONS.items()]
    ends = [Choice(end.value, label) for end, label in _DEADLINES.items()]
    return (
        Field("name", "Name"),
        Field("filter", "Filter", 'As in mitmweb: ~m POST & ~bq "salar(y|ies)". See below.', Kind.TEXTAREA),
        Field("action", "What becomes of a request that it fits", kind=Kind.SELECT, choices=kinds),
        project_field("Project", "Empty: all projects, which admins say."),
        Field("tag", "Tag", "What requests are marked with, if they are tagged."),
        Field("hold_seconds", "Held for (seconds)", "At most 600.", Kind.NUMBER),
        Field("on_deadline", "If nobody decides", kind=Kind.SELECT, choices=ends),
        Field("expires_at", "Until (UTC)", "Empty: until it is changed.", Kind.DATETIME, blank=Blank.NULL),
        Field("is_active", "Active", kind=Kind.CHECKBOX),
    )


@blueprint.get("/rules", endpoint="rules")
@needs(Role.AUDITOR)
def all_rules() -> str:
    """Show the rules in the order in which they are asked."""
    with db.reading(services().sessions) as session:
        found = flow_rules.in_order(session, scope())
        named = names.of(session, {rule.project_id for rule in found if rule.project_id}).projects
    return render_template("rules/list.html", rules=found, names=named, actions=ACTIONS)


@blueprint.route("/rules/new", methods=["GET", "POST"])
@needs(Role.OPERATOR)
def new_rule() -> ResponseReturnValue:
    """Ask for a rule, try its filter if that is wanted, and add it."""
    values = {"action": "tag", "hold_seconds": flow_rules.USUAL_SECONDS, "on_deadline": "refuse", "is_active": True}

    def create(body: Mapping[str, Any]) -> ResponseReturnValue:
        if "try" in request.form:
            return _tried(form, "rules/new.html", body["filter"], body.get("project_id"))
        told(f"The rule {body['name']} is in force.", lambda: actions.create(body))
        return redirect(url_for("ui.rules"), 303)

    form = Form(NewRuleForm(), _fields(), values=values)
    return handled(form, "rules/new.html", create, trial=None)


@blueprint.route("/rules/<uuid:rule_id>/edit", methods=["GET", "POST"])
@needs(Role.OPERATOR)
def edit_rule(rule_id: UUID) -> ResponseReturnValue:
    """Ask what is to be changed of a rule, and change that."""
    rule = _one(rule_id)
    values = RuleView().dump(rule)
    values["project_id"] = name_of(str(rule.project_id)) if rule.project_id else None
    values["expires_at"] = rule.expires_at and rule.expires_at.strftime("%Y-%m-%dT%H:%M:%S")
    form = Form(RuleChangesForm(), _fields(), values=values)
    if form.sent is not None and "try" in request.form:
        return _tried_anew(form, rule)

    def change(body: Mapping[str, Any], expected: Expected) -> ResponseReturnValue:
        if body:
            told(f"The rule {rule.name} was changed.", lambda: actions.update(rule_id, body, expected))
        return redirect(url_for("ui.rules"), 303)

    return edited(form, Known(flow_rules.state(rule), values), "rules/edit.html", change, rule=rule, trial=None)


@blueprint.route("/rules/<uuid:rule_id>/delete", methods=["GET", "POST"])
@needs(Role.OPERATOR)
def delete_rule(rule_id: UUID) -> ResponseReturnValue:
    """Ask whether a rule is to be deleted, and do so."""
    rule = _one(rule_id)
    if request.method == "GET":
        return render_template("rules/delete.html", rule=rule)
    told(f"The rule {rule.name} is deleted.", lambda: actions.delete(rule_id))
    return redirect(url_for("ui.rules"), 303)


@blueprint.post("/rules/<uuid:rule_id>/move")
@needs(Role.ADMIN)
def move_rule(rule_id: UUID) -> ResponseReturnValue:
    """Have a rule asked before the one that is asked before it now, or behind the next one."""
    with db.reading(services().sessions) as session:
        ids = [rule.id for rule in flow_rules.in_order(session)]
    if rule_id in ids:
        at = ids.index(rule_id)
        to = at + (1 if request.form.get("way") == "down" else -1)
        if 0 <= to < len(ids):
            ids[at], ids[to] = ids[to], ids[at]
            told("The order is another one.", lambda: actions.order(ids))
    return redirect(url_for("ui.rules"), 303)


def _tried_anew(form: Form, rule: Rule) -> ResponseReturnValue:
    sent, context = body_of(form), {"rule": rule, "state": request.form.get("state", "")}
    tried = {"filter": sent.get("filter") or "", "project_id": sent.get("project_id")}
    body = form.load(tried)
    if body is None:
        return render_template("rules/edit.html", form=form, trial=None, **context), 422
    return _tried(form, "rules/edit.html", body["filter"], body["project_id"], **context)


def _tried(form: Form, template: str, filter: str, project_id: UUID | None, **context: Any) -> ResponseReturnValue:
    """Show a form again, with what its filter fits of what was recorded lately: of its project, if it names one."""
    trial: Trial | None = None
    try:
        trial = actions.check(filter, project_id)
        if not trial.verdict.is_valid:
            form.refuse(Invalid("filter", said(trial.verdict)))
    except Invalid as error:
        form.refuse(error)
    return render_template(template, form=form, trial=trial, **context), 200 if not form.errors else 422


def _one(rule_id: UUID) -> Rule:
    with db.reading(services().sessions) as session:
        return flow_rules.get(session, rule_id, scope=scope())
