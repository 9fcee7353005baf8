"""Whose token is it: the management token's, an operator's, or that of somebody whom an issuer vouches for."""

import hashlib
import hmac
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from manager import audit, db, operators
from manager.principals import Principal, Role
from shared import logs, tokens

log = logs.get("access")


class Refused(Exception):
    """The token does not let anybody in; the message may be told to whoever sent it."""


class NoRole(Refused):
    """It is known who it is, and that there is no role for them."""


class Stopped(Exception):
    """Somebody who went to the issuer to sign in did not do so; the message may be told to them."""


class IssuerAway(Exception):
    """Whoever could vouch for a token cannot be asked."""


class Issuer(Protocol):
    """Vouches for people by tokens that it has signed; see manager/oidc.py."""

    def identify(self, token: str) -> Principal:
        """Return whose token it is. Raises Refused, IssuerAway."""
        ...


class Authenticator:
    """Knows every token that the management API takes. Withering tokens are none of them."""

    def __init__(self, sessions: db.Sessions, management_token: str, pepper: bytes, issuer: Issuer | None) -> None:
        self._sessions = sessions
        self._expected = _fingerprint(management_token)
        self._pepper = pepper
        self._issuer = issuer

    def identify(self, token: str, now: datetime) -> Principal:
        """Return whose token it is. Raises Refused, IssuerAway."""
        # Digests have one length, so that comparing them takes the same time whatever was sent.
        if hmac.compare_digest(_fingerprint(token), self._expected):
            return Principal(audit.MANAGEMENT, Role.ADMIN)
        if token.startswith(tokens.OPERATOR_PREFIX):
            return self._operator(token, now)
        if self._issuer is not None and token.count(".") == 2:
            return self._issuer.identify(token)
        raise Refused("The token is not known.")

    def _operator(self, token: str, now: datetime) -> Principal:
        with db.reading(self._sessions) as session:
            operator = operators.find(session, self._pepper, token)
        if operator is None:
            raise Refused("The token is not known.")
        if reason := operators.why_not(operator, now):
            raise Refused("The token has been revoked." if reason == "revoked" else "The token has expired.")
        if operators.is_stamp_due(operator, now):
            self._stamp(operator.id, now)
        return operators.principal_of(operator)

    def _stamp(self, operator_id: UUID, now: datetime) -> None:
        try:
            db.transact(self._sessions, lambda session: operators.stamp(session, operator_id, now))
        except SQLAlchemyError as error:  # Not worth refusing somebody.
            log.warning("use_not_stamped", reason=db.reason(error))


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
