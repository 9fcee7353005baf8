"""Operators: made, changed, given another token, revoked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import operators
from manager.actions import Run
from manager.audit import Action
from manager.changes import between
from manager.current import demand, note, now, services
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


def create(body: Mapping[str, Any], run: Run[WithToken] | None = None) -> WithToken:
    """Create an operator. Raises Forbidden, Invalid, Conflict."""
    demand(Role.ADMIN)

    def work(session: Session) -> WithToken:
        row, token = operators.create(session, services().settings.token_pepper, now(), **body)
        _note(session, Action.OPERATOR_CREATE, row, {"after": operators.shown(row)})
        return WithToken(row, token)

    return (run or services().transact)(work)


def update(operator_id: UUID, body: Mapping[str, Any]) -> Operator:
    """Change an operator that has not been revoked. Raises Forbidden, Invalid, Conflict, NotFound."""
    demand(Role.ADMIN)

    def work(session: Session) -> Operator:
        operator = operators.get(session, operator_id, for_update=True)
        before = operators.shown(operator)
        operators.update(session, now(), operator, **body)
        if detail := between(before, operators.shown(operator)):
            _note(session, Action.OPERATOR_UPDATE, operator, detail)
        return operator

    return services().transact(work)


def rotate(operator_id: UUID) -> WithToken:
    """Give an operator another token; the old one ends at once. Raises Forbidden, Conflict, NotFound."""
    demand(Role.ADMIN)

    def work(session: Session) -> WithToken:
        operator = operators.get(session, operator_id, for_update=True)
        masks = {"before": {"token": operator.masked}}
        token = operators.rotate(services().settings.token_pepper, now(), operator)
        _note(session, Action.OPERATOR_ROTATE, operator, masks | {"after": {"token": operator.masked}})
        return WithToken(operator, token)

    return services().transact(work)


def revoke(operator_id: UUID) -> None:
    """Revoke an operator for good. Its row stays, since the audit names it. Raises Forbidden, NotFound."""
    demand(Role.ADMIN)

    def work(session: Session) -> None:
        operator = operators.get(session, operator_id, for_update=True)
        if operators.revoke(operator, now()):
            _note(session, Action.OPERATOR_REVOKE, operator, {"name": operator.name})

    services().transact(work)


def _note(session: Session, action: Action, operator: Operator, detail: Mapping[str, Any]) -> None:
    note(session, action, subject_id=operator.id, detail=detail)
