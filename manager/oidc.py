"""People: bearer tokens that an OpenID Connect issuer has signed, and what their claims make of whoever sends them.

A token is taken if an asymmetric key of the issuer's has signed it, for our audience, and its time has come and not
passed. Which algorithm is used, the kind of the key decides and not the token, so that none can be talked into another.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from manager.authentication import NoRole, Refused
from manager.issuer_keys import IssuerKeys
from manager.operator_names import PERSON_PREFIX
from manager.principals import Principal, Role

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 30
_LONGEST_SUBJECT = 190
# Of an ID token, which tells who has signed in, there is one kind; of what is sent to an API there are more.
ID_TOKENS = frozenset({"jwt"})
BEARERS = ID_TOKENS | {"at+jwt", "application/at+jwt"}
_DEMANDED = ["exp", "iss", "aud", "sub"]


@dataclass(frozen=True)
class Claims:
    """Which tokens are for us, and which values of which claim are which roles."""

    issuer: str
    audience: str
    role_claim: str
    roles: Mapping[str, str]
    kinds: frozenset[str] = BEARERS


class Oidc:
    """Identifies people by the tokens of one issuer."""

    def __init__(self, wanted: Claims, keys: IssuerKeys) -> None:
        self._wanted = wanted
        self._keys = keys

    def identify(self, token: str) -> Principal:
        """Return whose token it is. Raises Refused; IssuerAway if it cannot be told."""
        return self.principal(self.verified(token))

    def verified(self, token: str) -> dict[str, Any]:
        """Return what a token claims, which is true. Raises Refused; IssuerAway if it cannot be told."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(_key_id(header, self._wanted.kinds), header["alg"])
            return jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                audience=self._wanted.audience,
                issuer=self._wanted.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _DEMANDED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("The token has expired.") from None
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Refused(f"The token is not taken: {error}.") from None

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Return what true claims make of somebody. Raises Refused, NoRole."""
        return Principal(f"{PERSON_PREFIX}{_subject(claims)}", self._role(claims))

    def _role(self, claims: Mapping[str, Any]) -> Role:
        known = self._wanted.roles
        roles = [Role(known[value]) for value in values(claims, self._wanted.role_claim) if value in known]
        if not roles:
            raise NoRole("The token gives no role here.")
        return max(roles, key=list(Role).index)


def values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a claim, whose name leads into objects by its dots unless there is one of the whole name."""
    found: Any = claims
    for part in [name] if name in claims else name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    entries = found if isinstance(found, list) else [found]
    return [entry for entry in entries if isinstance(entry, str)]


def _key_id(header: Mapping[str, Any], kinds: Container[str]) -> str | None:
    if header.get("alg") not in ALGORITHMS:
        raise ValueError(f"only {' and '.join(ALGORITHMS)} are")
    if "crit" in header:
        raise ValueError("it demands an extension")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in kinds:
        raise ValueError("it is of another kind")
    key_id = header.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("its key id is no text")
    return key_id


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise Refused("The token's subject is not printable, or too long.")
    return subject
