"""The issuer's token endpoint, where a code that somebody has brought along is exchanged for their ID token."""

import threading
from dataclasses import dataclass, field
from typing import Any

import requests

from manager import issuer_http
from manager.authentication import IssuerAway, Refused
from manager.issuer_keys import IssuerKeys
from manager.oidc_attempts import Attempt
from shared import logs

# An issuer that hangs does not hold up everybody else.
MOST_AT_ONCE = 4
_REFUSALS = range(400, 500)
_TOO_BUSY = (408, 429)
# What an issuer says if it is this installation that it does not want.
_OF_US = {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
log = logs.get("oidc")


@dataclass(frozen=True)
class Client:
    """What we are to the issuer; without a secret a public client."""

    issuer: str
    id: str
    scopes: str
    secret: str = field(default="", repr=False)


class Exchange:
    """Exchanges codes, as one client."""

    def __init__(self, client: Client, keys: IssuerKeys) -> None:
        self._client = client
        self._keys = keys
        self._running = threading.BoundedSemaphore(MOST_AT_ONCE)

    def id_token(self, code: str, attempt: Attempt) -> str:
        """Return the ID token that a code is good for. Raises Refused, IssuerAway."""
        url = self._keys.endpoint("token_endpoint")
        if not self._running.acquire(blocking=False):
            raise IssuerAway(f"{self._client.issuer} does not keep up.")
        try:
            status, answer = self._post(url, code, attempt)
        except (requests.RequestException, ValueError) as error:
            log.warning("issuer_away", issuer=self._client.issuer, reason=f"{type(error).__name__}: {error}")
            raise IssuerAway(f"{self._client.issuer} cannot be reached.") from None
        finally:
            self._running.release()
        return self._taken(status, answer)

    def _post(self, url: str, code: str, attempt: Attempt) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": attempt.redirect_uri}
        form["code_verifier"] = attempt.verifier
        if self._client.secret:
            return issuer_http.post(url, form, (self._client.id, self._client.secret))
        return issuer_http.post(url, form | {"client_id": self._client.id}, None)

    def _taken(self, status: int, answer: dict[str, Any]) -> str:
        token, error = answer.get("id_token"), told(answer.get("error"))
        if status == 200 and isinstance(token, str):
            return token
        log.warning("code_not_exchanged", issuer=self._client.issuer, status=status, error=error)
        if status in _REFUSALS and status not in _TOO_BUSY and error not in _OF_US and status != 401:
            raise Refused(f"The issuer does not take the code ({error}).")
        if status in _REFUSALS and status not in _TOO_BUSY:
            raise IssuerAway(f"{self._client.issuer} does not accept this installation ({error}). Tell an admin.")
        raise IssuerAway(f"{self._client.issuer} gave no ID token.")


def told(error: object) -> str:
    """Return an error code of an issuer's as it may be shown.

    >>> told("access_denied"), told("<script>"), told(None)
    ('access_denied', 'unknown', 'unknown')
    """
    is_code = isinstance(error, str) and error.replace("_", "").isalnum() and error.isascii() and len(error) <= 60
    return str(error) if is_code else "unknown"
