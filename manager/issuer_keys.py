"""What an OpenID Connect issuer publishes, its keys above all: found by its discovery document, kept, fetched anew."""

import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import requests

from manager import issuer_http
from manager.authentication import IssuerAway
from shared import logs

FRESH_SECONDS = 300.0
# An issuer that is away costs nobody their access at once: its keys are good for as long as this.
STALE_SECONDS = 86_400.0
# Anybody may send unknown key ids.
PAUSE_SECONDS = 10.0
_FITTING = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}}

type Clock = Callable[[], float]
log = logs.get("oidc")


class IssuerKeys:
    """Keys of one issuer, and the document that leads to them."""

    def __init__(self, issuer: str, clock: Clock = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._lock = threading.Lock()
        self._described: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._fetched = self._tried = -STALE_SECONDS

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of this id (None: the only one) for an algorithm. Raises IssuerAway, jwt.PyJWTError."""
        if self._age() > FRESH_SECONDS:
            self._refresh()
        found = self._matching(key_id, algorithm)
        if not found and self._refresh():
            found = self._matching(key_id, algorithm)
        if self._age() > STALE_SECONDS:
            raise IssuerAway(f"The keys of {self._issuer} cannot be fetched.")
        if len(found) != 1:
            raise jwt.PyJWKSetError("its key is not known" if not found else "it does not say which key has signed it")
        return jwt.PyJWK.from_dict(found[0], algorithm)

    def described(self) -> dict[str, Any]:
        """Return the discovery document. Raises IssuerAway."""
        if self._age() > FRESH_SECONDS:
            self._refresh()
        if self._age() > STALE_SECONDS:
            raise IssuerAway(f"{self._issuer} cannot be reached.")
        return self._described

    def endpoint(self, name: str) -> str:
        """Return an address that the discovery document tells. Raises IssuerAway if it tells none that is safe."""
        try:
            return issuer_http.checked(str(self.described().get(name)))
        except ValueError as error:
            raise IssuerAway(f"{self._issuer} tells no usable {name}: {error}.") from None

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _matching(self, key_id: str | None, algorithm: str) -> list[dict[str, Any]]:
        fitting = [key for key in self._keys if _fits(key, algorithm)]
        return [key for key in fitting if key_id is None or key.get("kid") == key_id]

    def _refresh(self) -> bool:
        """Fetch the keys, unless that was tried a moment ago. Tell whether they came."""
        with self._lock:
            if self._clock() - self._tried < PAUSE_SECONDS:
                return False
            self._tried = self._clock()
            try:
                self._described, self._keys = self._fetch()
            except (requests.RequestException, ValueError) as error:
                log.warning("issuer_away", issuer=self._issuer, reason=f"{type(error).__name__}: {error}")
                return False
            self._fetched = self._clock()
            return True

    def _fetch(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        described = issuer_http.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if described.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        found = issuer_http.get(str(described.get("jwks_uri"))).get("keys")
        if not isinstance(found, list):
            raise ValueError("there are no keys in the key set")
        return described, [key for key in found if isinstance(key, dict)]


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    uses = key.get("key_ops", ["verify"])
    is_for_signing = key.get("use", "sig") == "sig" and isinstance(uses, list) and "verify" in uses
    is_of_kind = all(key.get(name) == value for name, value in _FITTING[algorithm].items())
    return is_for_signing and is_of_kind and key.get("alg", algorithm) == algorithm
