"""Operators: made, changed, given another token, revoked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import etags, operators
from manager.actions import ANY, Run
from manager.audit import Action
from manager.changes import between
from manager.current import demand, note, now, services
from manager.errors import Conflict
from manager.etags import Expected
from manager.principals import Role
from manager.tables import Operator


@dataclass(frozen=True)
class WithToken:
    """An operator and its token, on the way to the one answer that shows it."""

    row: Operator
    token: str

    def __getattr__(self, name: str) -> Any:
        """Return what the row knows."""
        return getattr(self.row, name)


def state(row: Operator) -> str:
    """Return what an operator is at, see manager/etags.py."""
    return etags.state_of(row.id, row.version)


def create(body: Mapping[str, Any], run: Run[WithToken] | None = None) -> WithToken:
    """Create an operator. Raises Forbidden, Invalid, Conflict."""
    demand(Role.ADMIN)

    def work(session: Session) -> WithToken:
        row, token = operators.create(session, services().settings.token_pepper, now(), **body)
        _note(session, Action.OPERATOR_CREATE, row, {"after": operators.shown(row)})
        return WithToken(row, token)

    return (run or services().transact)(work)


def update(operator_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> Operator:
    """Change an operator that has not been revoked. Raises Forbidden, Invalid, Conflict, NotFound, Stale."""
    demand(Role.ADMIN)

    def work(session: Session) -> Operator:
        operator = _expected(session, operator_id, expected)
        before = operators.shown(operator)
        operators.update(session, now(), operator, **body)
        if detail := between(before, operators.shown(operator)):
            _note(session, Action.OPERATOR_UPDATE, operator, detail)
        return operator

    return services().transact(work)


def rotate(operator_id: UUID, expected: Expected = ANY, run: Run[WithToken] | None = None) -> WithToken:
    """Give an operator another token; the old one ends at once. Raises Forbidden, Conflict, NotFound, Stale."""
    demand(Role.ADMIN)

    def work(session: Session) -> WithToken:
        operator = _expected(session, operator_id, expected)
        masks = {"before": {"token": operator.masked}}
        token = operators.rotate(services().settings.token_pepper, now(), operator)
        _note(session, Action.OPERATOR_ROTATE, operator, masks | {"after": {"token": operator.masked}})
        return WithToken(operator, token)

    return (run or services().transact)(work)


def revoke(operator_id: UUID, expected: Expected = ANY) -> None:
    """Revoke an operator for good. Its row stays, since the audit names it. Raises Forbidden, NotFound, Stale."""
    demand(Role.ADMIN)

    def work(session: Session) -> None:
        operator = _expected(session, operator_id, expected)
        if operators.revoke(operator, now()):
            _note(session, Action.OPERATOR_REVOKE, operator, {"name": operator.name})

    services().transact(work)


def check_live(session: Session, shown: Mapping[str, Any]) -> None:
    """Raise Conflict if an operator whose token was shown has been revoked since, or has another token."""
    operator = operators.get(session, UUID(shown["id"]))
    if operator.revoked_at is not None or operator.masked != shown["masked_token"]:
        raise Conflict("The operator has been revoked since, or given another token: this one is not shown again.")


def _expected(session: Session, operator_id: UUID, expected: Expected) -> Operator:
    """Return an operator that is to be changed, locked, if it is what the caller knows."""
    operator = operators.get(session, operator_id, for_update=True)
    expected.check(state(operator))
    return operator


def _note(session: Session, action: Action, operator: Operator, detail: Mapping[str, Any]) -> None:
    note(session, action, subject_id=operator.id, detail=detail)
