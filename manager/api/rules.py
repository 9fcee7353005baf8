"""/manage/rules."""

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, flow_rules, texts
from manager.actions import rules as actions
from manager.actions.rules import Trial
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Moment, Name, Truth, Whole, described_text
from manager.api.once import once
from manager.current import scope, services
from manager.principals import Role
from manager.rule_check import Doubt
from manager.tables import Rule
from shared.rules_schema import LONGEST_FILTER, LONGEST_HOLD_SECONDS, Action, OnDeadline

blueprint = ManageBlueprint("rules", "Which live requests are let through, tagged, redacted, held or denied.")
_ID = {"rule_id": "$response.body#/id"}
_ONE = "/manage/rules/{rule_id}"
LINKS = {"get": ("get", _ONE, _ID), "change": ("patch", _ONE, _ID), "delete": ("delete", _ONE, _ID)}
_EXAMPLE = {
    "name": "hold what is about salaries",
    "filter": '~bq "salar(y|ies)"',
    "action": "hold",
    "hold_seconds": 120,
}

Filter = described_text(minLength=1, maxLength=LONGEST_FILTER, pattern=texts.PLAIN_PATTERN, format="flow-filter")
_FILTER = "Of mitmproxy's filter language, about the request, with patterns of RE2."


class _Settings(ma.Schema):
    project_id = ma.fields.UUID(
        allow_none=True, metadata={"description": "Whose requests; null: those of all projects, which admins say."}
    )
    tag = ma.fields.String(
        metadata={
            "description": "What requests are marked with. A rule that tags needs one.",
            "maxLength": flow_rules.TAG_LENGTH,
            "pattern": f"^$|{texts.PLAIN_PATTERN}",
        }
    )
    hold_seconds = Whole(
        metadata={"minimum": 1, "maximum": LONGEST_HOLD_SECONDS, "description": "How long a request is held at most."}
    )
    on_deadline = ma.fields.String(
        validate=ma.validate.OneOf(list(OnDeadline)),
        metadata={"description": "What becomes of a held request that nobody decides about."},
    )
    is_active = Truth()
    expires_at = Moment(allow_none=True, metadata={"description": "It holds until then; null: until it is changed."})


class NewRule(_Settings):
    """What a rule is made of."""

    name = Name(required=True)
    filter = Filter(required=True, metadata={"description": _FILTER})
    action = ma.fields.String(required=True, validate=ma.validate.OneOf(list(Action)))
    facts = {"if": {"properties": {"action": {"const": "tag"}}}, "then": {"required": ["tag"]}}  # noqa: RUF012


class RuleChanges(_Settings, Changes):
    """What may be changed; a field that is left out stays."""

    name = Name()
    filter = Filter(metadata={"description": _FILTER})
    action = ma.fields.String(validate=ma.validate.OneOf(list(Action)))


class RuleView(ma.Schema):
    """A rule."""

    id = ma.fields.UUID()
    name = ma.fields.String()
    filter = ma.fields.String()
    action = ma.fields.String()
    project_id = ma.fields.UUID(allow_none=True)
    tag = ma.fields.String()
    hold_seconds = ma.fields.Integer()
    on_deadline = ma.fields.String()
    is_active = ma.fields.Boolean()
    version = ma.fields.Integer(metadata={"description": "1 at first; what it was before stands in the audit."})
    expires_at = ma.fields.AwareDateTime(allow_none=True)
    created_at = ma.fields.AwareDateTime()
    updated_at = ma.fields.AwareDateTime()


class RuleList(ma.Schema):
    """Rules in the order in which they are asked. The first that allows, holds or denies decides."""

    items = ma.fields.List(ma.fields.Nested(RuleView))


class Order(ma.Schema):
    """All rules, each once."""

    ids = ma.fields.List(ma.fields.UUID(), required=True, validate=ma.validate.Length(max=flow_rules.MOST_RULES))


class Check(ma.Schema):
    """What is to be tried."""

    filter = Filter(required=True, metadata={"description": _FILTER})
    project_id = ma.fields.UUID(
        allow_none=True, load_default=None, metadata={"description": "Tried on its flows only; null: on all."}
    )


class DoubtView(ma.Schema):
    """Why it is not known of some requests whether a filter fits them."""

    reason = ma.fields.String(
        validate=ma.validate.OneOf(list(Doubt)),
        metadata={
            "description": "Of the body nothing was recorded, as its project's capture or a rule says; or it was cut,"
            " and what was recorded does not fit; or the search takes too long."
        },
    )
    count = ma.fields.Integer(metadata={"description": "Of how many requests."})


class CheckView(ma.Schema):
    """What is to be said of a filter."""

    is_valid = ma.fields.Boolean(attribute="verdict.is_valid")
    position = ma.fields.Integer(
        attribute="verdict.position",
        allow_none=True,
        metadata={"description": "At which character, counted from 0, it is wrong; null: nowhere, or not known."},
    )
    message = ma.fields.String(attribute="verdict.message", metadata={"description": "Why it is wrong."})
    count = ma.fields.Function(
        lambda trial: len(trial.verdict.matched),
        metadata={"type": "integer", "description": "How many of the recorded flows it certainly fits."},
    )
    matched = ma.fields.List(
        ma.fields.String(), attribute="verdict.matched", metadata={"description": "The ids of their requests."}
    )
    unsure_count = ma.fields.Function(
        lambda trial: len(trial.verdict.unsure),
        metadata={"type": "integer", "description": "Of how many nobody can say whether it fits them."},
    )
    unsure = ma.fields.List(
        ma.fields.String(), attribute="verdict.unsure", metadata={"description": "The ids of their requests."}
    )
    doubts = ma.fields.List(ma.fields.Nested(DoubtView), metadata={"description": "Why nobody can say."})
    looked_at = ma.fields.Integer(
        attribute="verdict.looked_at",
        metadata={"description": "On how many flows it was tried, the latest ones that were let in."},
    )
    is_whole = ma.fields.Boolean(metadata={"description": "Whether these are all that the feed has."})


@blueprint.route("/rules")
class AllRules(MethodView):
    """All rules."""

    @blueprint.says(tagged=True, links=described.of_first(LINKS))
    @blueprint.response(200, RuleList)
    def get(self) -> dict[str, Any]:
        """List the rules in the order in which they are asked."""
        with db.reading(services().sessions) as session:
            return _ordered(flow_rules.in_order(session, scope()))

    @blueprint.says(once=True, is_tagged=True, conflicts=True, links=LINKS)
    @blueprint.arguments(NewRule, example=_EXAMPLE)
    @blueprint.response(201, RuleView)
    def post(self, body: dict[str, Any]) -> Rule:
        """Add a rule behind all others. It is in force at once."""
        return _tagged(actions.create(body, once(RuleView(), lambda rule: rule, state=flow_rules.state)))


@blueprint.route("/rules/<uuid:rule_id>")
class OneRule(MethodView):
    """One rule."""

    @blueprint.says(tagged=True)
    @blueprint.response(200, RuleView)
    def get(self, rule_id: UUID) -> Rule:
        """Show a rule."""
        with db.reading(services().sessions) as session:
            return _tagged(flow_rules.get(session, rule_id, scope=scope()))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(RuleChanges, example={"is_active": False})
    @blueprint.response(200, RuleView)
    def patch(self, body: dict[str, Any], rule_id: UUID) -> Rule:
        """Change a rule. One whose filter says nothing is refused, and what was in force stays so."""
        return _tagged(actions.update(rule_id, body, conditions.expected()))

    @blueprint.says(tagged=True)
    @blueprint.response(204)
    def delete(self, rule_id: UUID) -> None:
        """Remove a rule. Requests that it holds are held until somebody decides, or their time is over."""
        actions.delete(rule_id, conditions.expected())


@blueprint.route("/rules/order")
class TheOrder(MethodView):
    """The order of rules."""

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.says(tagged=True)
    @blueprint.arguments(Order)
    @blueprint.response(200, RuleList)
    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Have the rules asked in this order. The ETag is that of the list of all rules."""
        return _ordered(list(actions.order(body["ids"], conditions.expected())))


@blueprint.route("/rules/check")
class Checking(MethodView):
    """Filters."""

    @blueprint.arguments(Check, example={"filter": '~bq "salar(y|ies)"'})
    @blueprint.response(200, CheckView)
    def post(self, body: dict[str, Any]) -> Trial:
        """Tell whether a filter says something, and which of the flows that were recorded lately it fits."""
        return actions.check(body["filter"], body["project_id"])


def _tagged(rule: Rule) -> Rule:
    conditions.show(flow_rules.state(rule))
    return rule


def _ordered(rules: list[Rule]) -> dict[str, Any]:
    conditions.show(flow_rules.state_of_order(rules))
    return {"items": rules}
