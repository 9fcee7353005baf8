"""Signing in at an OpenID Connect issuer: the authorization code flow with PKCE, from the way there to who came back.

What comes back is taken once, by the browser that has begun, from the issuer that was asked, for this client alone.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from manager.authentication import NoRole, Refused, Stopped
from manager.issuer_keys import IssuerKeys
from manager.oidc import Oidc
from manager.oidc_attempts import Attempt, Attempts
from manager.oidc_exchange import Client, Exchange, told
from manager.principals import Principal
from shared import logs

_NOT_BEGUN = "This sign-in took too long, or has begun in another browser. Please begin again."
log = logs.get("oidc")


class CodeFlow:
    """Lets people sign in, as one client of one issuer; `tokens` are those made for that client."""

    def __init__(self, client: Client, keys: IssuerKeys, tokens: Oidc, attempts: Attempts) -> None:
        self._client = client
        self._keys = keys
        self._tokens = tokens
        self._attempts = attempts
        self._exchange = Exchange(client, keys)

    def begin(self, redirect_uri: str, next: str, now: datetime) -> tuple[str, str]:
        """Return the issuer's page to go to, and what the browser is to keep meanwhile. Raises IssuerAway."""
        attempt = Attempt.begin(redirect_uri, next)
        asked = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": redirect_uri,
            "scope": self._client.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self._keys.endpoint("authorization_endpoint"), asked), self._attempts.seal(attempt, now)

    def recall(self, kept: str, now: datetime) -> Attempt:
        """Return what a browser has begun. Raises Stopped if it is nothing, or was too long ago."""
        found = self._attempts.open(kept, now)
        if found is None:
            raise Stopped(_NOT_BEGUN)
        return found

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Principal:
        """Return who has signed in, by what the issuer has sent back. Raises Refused, NoRole, Stopped, IssuerAway."""
        if not _is_same(answer.get("state"), attempt.state):
            raise Refused("This answer belongs to another sign-in. Please begin again.")
        self._check_sender(answer)
        if not self._attempts.take(attempt):
            raise Refused("This sign-in has been used already. Please begin again.")
        if "error" in answer:
            raise Stopped(self._why_not(told(answer["error"])))
        if not answer.get("code"):
            raise Refused("The issuer's answer has no code.")
        claims = self._tokens.verified(self._exchange.id_token(answer["code"], attempt))
        self._check_receiver(claims)
        if not _is_same(claims.get("nonce"), attempt.nonce):
            raise Refused("The issuer's token belongs to another sign-in.")
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        try:
            return self._tokens.principal(claims)
        except NoRole:
            raise NoRole("The issuer knows you, but you have no role here. Ask an admin for one.") from None

    def _why_not(self, error: str) -> str:
        if error == "access_denied":
            return "You have not signed in: it was cancelled, or the issuer does not let you in here."
        log.warning("sign_in_stopped", issuer=self._client.issuer, error=error)
        return f"The issuer has not signed you in ({error})."

    def _check_sender(self, answer: Mapping[str, str]) -> None:
        """Refuse what another issuer has sent: RFC 9207."""
        is_named = self._keys.described().get("authorization_response_iss_parameter_supported") is True
        if "iss" in answer or is_named:
            if not _is_same(answer.get("iss"), self._client.issuer):
                raise Refused("This answer is another issuer's.")

    def _check_receiver(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that was given to another client: OpenID Connect Core, 3.1.3.7."""
        party, audience = claims.get("azp"), claims["aud"]
        is_shared = isinstance(audience, list) and len(audience) > 1
        if party != self._client.id and (is_shared or party is not None):
            raise Refused("The issuer's token is for another client.")


def _is_same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _with_query(url: str, asked: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    kept = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{kept}{urlencode(asked)}", fragment="").geturl()
