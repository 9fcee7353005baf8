"""Rules about live requests: kept in SQL, in the order in which they are asked. Plain functions over a session.

The caller commits, and has had the filter checked: see manager/rule_check.py. Every change counts as one of the
publication of all rules, so that nobody else changes them until the transaction ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import etags, publications, texts
from manager.errors import Conflict, Invalid, NotFound
from manager.principals import EVERYTHING, Scope
from manager.tables import Project, Rule, new_id
from shared import logs, rules_schema
from shared.redis_schema import to_ms
from shared.rules_schema import LONGEST_FILTER, LONGEST_HOLD_SECONDS, Action, OnDeadline, RuleSet

# Each is asked of every request.
MOST_RULES = 200
TAG_LENGTH = 64
USUAL_SECONDS = 60
log = logs.get("rules")


def create(session: Session, now: datetime, *, name: str, filter: str, action: Action, **more: Any) -> Rule:
    """Add a rule behind all others; `more` as in `update`. Raises Invalid, Conflict."""
    publications.touch(session, publications.Name.RULES, now)
    count, last = session.execute(sa.select(sa.func.count(Rule.id), sa.func.max(Rule.place))).one()
    if count >= MOST_RULES:
        raise Conflict(f"There are {MOST_RULES} rules, which is the most that there may be. Delete one first.")
    rule = Rule(
        id=new_id(), tag="", hold_seconds=USUAL_SECONDS, on_deadline=OnDeadline.REFUSE.value, is_active=True,
        place=0 if last is None else last + 1, version=1, created_at=now, updated_at=now,
    )  # fmt: skip
    _set(session, now, rule, {"name": name, "filter": filter, "action": action, **more})
    session.add(rule)
    _flush(session)
    return rule


def update(session: Session, now: datetime, rule: Rule, **changes: Any) -> None:
    """Change what is given; what is as it was is no change. Raises Invalid, Conflict.

    There are name, filter, action, project_id (None: all projects), tag, hold_seconds, on_deadline, is_active and
    expires_at (None: never).
    """
    before = facts(rule)
    _set(session, now, rule, changes)
    if facts(rule) != before:
        rule.version += 1
        rule.updated_at = now
        publications.touch(session, publications.Name.RULES, now)
        _flush(session)


def delete(session: Session, now: datetime, rule: Rule) -> None:
    """Remove a rule."""
    publications.touch(session, publications.Name.RULES, now)
    session.delete(rule)
    session.flush()


def reorder(session: Session, now: datetime, ids: Sequence[UUID]) -> None:
    """Have the rules asked in this order, which names each of them once. Raises Invalid."""
    known = {rule.id: rule for rule in in_order(session)}
    if len(ids) != len(known) or set(ids) != set(known):
        raise Invalid("ids", "Must name every rule that there is once.")
    if list(ids) != list(known):
        publications.touch(session, publications.Name.RULES, now)
        for place, rule_id in enumerate(ids):
            known[rule_id].place = place
        session.flush()


def get(session: Session, rule_id: UUID, *, scope: Scope = EVERYTHING, for_update: bool = False) -> Rule:
    """Return a rule, locked against other changes if it is to be changed. Raises NotFound."""
    rule = session.get(Rule, rule_id, with_for_update=for_update, populate_existing=for_update)
    if rule is None or not _is_seen(rule, scope):
        raise NotFound("There is no such rule.")
    return rule


def in_order(session: Session, scope: Scope = EVERYTHING) -> list[Rule]:
    """Return the rules in the order in which they are asked: of these projects, and if it is all those of all."""
    query = sa.select(Rule).order_by(Rule.place, Rule.id)
    if scope.project_ids is not None:
        query = query.where(Rule.project_id.in_(scope.project_ids))
    return list(session.scalars(query))


def published(session: Session) -> RuleSet:
    """Return what the data plane gets to know: the rules that are active, over or not."""
    rules = [_published(rule) for rule in in_order(session) if rule.is_active and _is_readable(rule)]
    return RuleSet(publications.version(session, publications.Name.RULES), rules)


def facts(rule: Rule) -> dict[str, Any]:
    """Return what the audit tells of a rule."""
    return {
        "name": rule.name,
        "filter": rule.filter,
        "action": rule.action,
        "project_id": rule.project_id and str(rule.project_id),
        "tag": rule.tag,
        "hold_seconds": rule.hold_seconds,
        "on_deadline": rule.on_deadline,
        "is_active": rule.is_active,
        "expires_at": rule.expires_at and rule.expires_at.isoformat(),
    }


def state(rule: Rule) -> str:
    """Return what a rule is at, see manager/etags.py."""
    return etags.state_of(rule.id, rule.version)


def state_of_order(rules: Sequence[Rule]) -> str:
    """Return what the order of rules is at."""
    return etags.state_of(*[rule.id for rule in rules])


def _set(session: Session, now: datetime, rule: Rule, changes: Mapping[str, Any]) -> None:
    if "name" in changes:
        rule.name = texts.check_name(changes["name"], "name")
    if "filter" in changes:
        rule.filter = check_filter(changes["filter"])
    if "action" in changes:
        rule.action = Action(changes["action"]).value
    if "project_id" in changes:
        rule.project_id = _project(session, changes["project_id"])
    if "tag" in changes:
        rule.tag = _tag(changes["tag"])
    if "hold_seconds" in changes:
        rule.hold_seconds = _seconds(changes["hold_seconds"])
    if "on_deadline" in changes:
        rule.on_deadline = OnDeadline(changes["on_deadline"]).value
    if "is_active" in changes:
        rule.is_active = changes["is_active"]
    if "expires_at" in changes:
        rule.expires_at = _end(changes["expires_at"], rule.expires_at, now)
    if rule.action == Action.TAG and not rule.tag:
        raise Invalid("tag", "A rule that tags needs a tag.")


def check_filter(text: str) -> str:
    """Return a filter as it is kept; whether it says something is for manager/rule_check.py. Raises Invalid."""
    if not 1 <= len(text.strip()) <= LONGEST_FILTER:
        raise Invalid("filter", f"Must have 1 to {LONGEST_FILTER} characters.")
    return texts.check_text(text.strip(), "filter")


def _tag(text: str) -> str:
    return texts.check_plain(text, "tag", TAG_LENGTH) if text else ""


def _seconds(seconds: int) -> int:
    if not 1 <= seconds <= LONGEST_HOLD_SECONDS:
        raise Invalid("hold_seconds", f"Must be a whole number from 1 to {LONGEST_HOLD_SECONDS}.")
    return seconds


def _end(wanted: datetime | None, known: datetime | None, now: datetime) -> datetime | None:
    if wanted is not None and wanted != known and wanted <= now:
        raise Invalid("expires_at", "Must lie in the future.")
    return wanted


def _project(session: Session, project_id: UUID | None) -> UUID | None:
    if project_id is not None:
        # What is not valid yet, such as a name that is taken, is not to be written by a look at the projects.
        with session.no_autoflush:
            project = session.get(Project, project_id)
        if project is None or project.deleted_at is not None:
            raise NotFound("There is no such project.")
    return project_id


def _is_seen(rule: Rule, scope: Scope) -> bool:
    return scope == EVERYTHING if rule.project_id is None else scope.includes(rule.project_id)


def _is_readable(rule: Rule) -> bool:
    """Tell whether a rule is one: in a restored or edited database it may not be, and must not hold up others."""
    is_known = rule.action in set(Action) and rule.on_deadline in set(OnDeadline)
    if is_known and all(map(texts.is_text, (rule.name, rule.filter, rule.tag))):
        return True
    log.error("rule_unreadable", rule_id=str(rule.id))
    return False


def _published(rule: Rule) -> rules_schema.Rule:
    return rules_schema.Rule(
        id=str(rule.id),
        name=rule.name,
        filter=rule.filter,
        action=Action(rule.action),
        project_id=str(rule.project_id or ""),
        tag=rule.tag,
        hold_seconds=rule.hold_seconds,
        on_deadline=OnDeadline(rule.on_deadline),
        expires_at_ms=0 if rule.expires_at is None else to_ms(rule.expires_at),
    )


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("There is a rule of this name already.") from error
