"""Rules about live requests: made, changed, put in order, deleted, tried. One of all projects is for admins to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, db, flow_rules, flows, projects
from manager.actions import ANY, Run
from manager.changes import between
from manager.current import demand, demand_everything, note, now, scope, services
from manager.etags import Expected
from manager.flows import Wanted
from manager.principals import Role
from manager.rule_check import Doubts, Verdict, doubts
from manager.tables import Rule

# Filters are tried on so many of the latest flows, whose bodies have so many bytes together at most.
MOST_TRIED, MOST_TRIED_BYTES = 2000, 32 << 20


@dataclass(frozen=True)
class Trial:
    """What is to be said of a filter, and whether it was tried on all that there are.

    `doubts` says why it is not known of some requests whether it fits them.
    """

    verdict: Verdict
    is_whole: bool
    doubts: Sequence[Doubts]


def create(body: Mapping[str, Any], run: Run[Rule] | None = None) -> Rule:
    """Add a rule behind all others. Raises Forbidden, Invalid, Conflict, NotFound, Unavailable."""
    demand(Role.OPERATOR)
    _demand_for(body.get("project_id"))
    _check(body)

    def work(session: Session) -> Rule:
        rule = flow_rules.create(session, now(), **body)
        _note(session, audit.Action.RULE_CREATE, rule, {"after": flow_rules.facts(rule)})
        return rule

    rule = (run or services().transact)(work)
    services().publish_created(lambda publisher: publisher.publish_rules())
    return rule


def update(rule_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> Rule:
    """Change what is given, see flow_rules.update. Raises as `create`, and Stale, PublishError."""
    demand(Role.OPERATOR)
    with db.reading(services().sessions) as session:
        _demand_for(flow_rules.get(session, rule_id, scope=scope()).project_id)
    if "project_id" in body:
        _demand_for(body["project_id"])
    _check(body)

    def work(session: Session) -> Rule:
        rule = _expected(session, rule_id, expected)
        before = flow_rules.facts(rule)
        flow_rules.update(session, now(), rule, **body)
        if detail := between(before, flow_rules.facts(rule)):
            _note(session, audit.Action.RULE_UPDATE, rule, detail)
        return rule

    rule = services().transact(work)
    services().publisher.publish_rules()
    return rule


def delete(rule_id: UUID, expected: Expected = ANY) -> None:
    """Remove a rule. Raises Forbidden, NotFound, Stale, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> None:
        rule = _expected(session, rule_id, expected)
        _note(session, audit.Action.RULE_DELETE, rule, {"before": flow_rules.facts(rule)})
        flow_rules.delete(session, now(), rule)

    services().transact(work)
    services().publisher.publish_rules()


def order(ids: Sequence[UUID], expected: Expected = ANY) -> Sequence[Rule]:
    """Have all rules asked in this order. Raises Forbidden, Invalid, Stale, PublishError."""
    demand(Role.ADMIN)
    demand_everything()

    def work(session: Session) -> Sequence[Rule]:
        before = flow_rules.in_order(session)
        expected.check(flow_rules.state_of_order(before))
        flow_rules.reorder(session, now(), ids)
        after = flow_rules.in_order(session)
        names = [[rule.name for rule in rules] for rules in (before, after)]
        if names[0] != names[1]:
            note(session, audit.Action.RULE_ORDER, detail={"before": names[0], "after": names[1]})
        return after

    after = services().transact(work)
    services().publisher.publish_rules()
    return after


def check(filter: str, project_id: UUID | None = None) -> Trial:
    """Try a filter on what was recorded lately and let in: rules are not asked about other requests.

    Raises Forbidden, Invalid, Unavailable, RedisError.
    """
    demand(Role.OPERATOR)
    text = flow_rules.check_filter(filter)
    wanted = Wanted(scope().narrowed(project_id), fits=flows.was_admitted)
    found = flows.find(services().redis, wanted, MOST_TRIED, most_kept=MOST_TRIED_BYTES)
    verdict = services().rule_check.of(text, found.records)
    return Trial(verdict, found.is_whole, doubts(verdict, found.records))


def _check(body: Mapping[str, Any]) -> None:
    """Have a filter checked, which takes a second: nobody else waits for that."""
    if "filter" in body:
        services().rule_check.demand(flow_rules.check_filter(body["filter"]))


def _demand_for(project_id: UUID | None) -> None:
    """Raise Forbidden or NotFound unless who is here may make rules of a project; None: of all of them."""
    if project_id is None:
        demand(Role.ADMIN)
        demand_everything()
    else:
        with db.reading(services().sessions) as session:
            projects.get(session, project_id, scope=scope())


def _expected(session: Session, rule_id: UUID, expected: Expected) -> Rule:
    rule = flow_rules.get(session, rule_id, scope=scope(), for_update=True)
    _demand_for_row(rule)
    expected.check(flow_rules.state(rule))
    return rule


def _demand_for_row(rule: Rule) -> None:
    if rule.project_id is None:
        demand(Role.ADMIN)
        demand_everything()


def _note(session: Session, action: audit.Action, rule: Rule, detail: Mapping[str, Any]) -> None:
    note(session, action, project_id=rule.project_id, subject_id=rule.id, detail=detail)
