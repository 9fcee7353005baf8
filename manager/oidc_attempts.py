"""Sign-ins that have begun: what a browser keeps, sealed, until it is back from the issuer; for minutes, and once."""

import base64
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from manager.tallies import Tallies

SECONDS = 600
_RANDOM_BYTES = 32


@dataclass(frozen=True)
class Attempt:
    """A sign-in that has begun: its secrets, where the issuer sends the browser back to, and where that goes then."""

    redirect_uri: str
    next: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def begin(cls, redirect_uri: str, next: str) -> Self:
        """Return a new one."""
        return cls(redirect_uri, next, *(secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """What is told of the verifier beforehand (RFC 7636, S256)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class Attempts:
    """Seals and opens them, for one client of one issuer."""

    def __init__(self, pepper: bytes, whose: str, tallies: Tallies) -> None:
        said = f"llm-proxy: sign-ins that have begun\n{whose}".encode()
        self._box = Fernet(base64.urlsafe_b64encode(HKDF(SHA256(), 32, None, said).derive(pepper)))
        self._tallies = tallies

    def seal(self, attempt: Attempt, now: datetime) -> str:
        """Return what the browser is to keep."""
        return self._box.encrypt_at_time(json.dumps(asdict(attempt)).encode(), int(now.timestamp())).decode()

    def open(self, kept: str, now: datetime) -> Attempt | None:
        """Return what a browser has kept; None if it is nothing of ours, or too old."""
        try:
            opened = self._box.decrypt_at_time(kept.encode(errors="replace"), SECONDS, int(now.timestamp()))
        except InvalidToken:
            return None
        return Attempt(**json.loads(opened))

    def take(self, attempt: Attempt) -> bool:
        """Use an attempt up. Tell whether it was still unused."""
        return self._tallies.turn(f"begun:{attempt.state}", SECONDS)
