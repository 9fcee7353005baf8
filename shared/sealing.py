"""Provider keys at rest: an AES-256-GCM envelope that names its key and is bound to its place.

A sealed value reads `v1.<key id>.<base64url of nonce and ciphertext>`. The place (table and row) is authenticated
with it, so that a value moved to another row does not open. New values are sealed with the first key of the ring;
the others only open, which is what lets keys be rotated without a stop.
"""

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
VERSION = "v1"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


class SealingError(Exception):
    """A value cannot be opened: damaged, moved to another place, or sealed with a key that is not in the ring."""


@dataclass(frozen=True)
class Keyring:
    """Encryption keys by id; `primary` is the id that seals. Never shows its keys."""

    primary: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read `id:base64,id:base64`, primary first; each key 32 random bytes. Raises ValueError, naming ids only."""
        pairs = [_parse_key(part) for part in text.split(",") if part.strip()]
        if not pairs:
            raise ValueError("needs at least one key as id:base64")
        keys = dict(pairs)
        if len(keys) != len(pairs):
            raise ValueError("names a key id twice")
        return cls(primary=pairs[0][0], keys=keys)

    def seal(self, plaintext: str, place: str) -> str:
        """Encrypt for `place`, e.g. `upstream_keys:<row id>`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        box = AESGCM(self.keys[self.primary]).encrypt(nonce, plaintext.encode(), _bound_to(place, self.primary))
        return f"{VERSION}.{self.primary}.{base64.urlsafe_b64encode(nonce + box).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Decrypt what was sealed for the same place. Raises SealingError, which never quotes the value."""
        key_id, blob = _parse_sealed(sealed)
        if key_id not in self.keys:
            raise SealingError(f"{place} is sealed with key id {key_id!r}, which ENCRYPTION_KEYS does not hold")
        try:
            plain = AESGCM(self.keys[key_id]).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _bound_to(place, key_id))
        except InvalidTag as error:
            raise SealingError(f"{place} does not open with key id {key_id!r}: changed, or moved here") from error
        return plain.decode()


def generate_key() -> str:
    """Return a new base64 key for ENCRYPTION_KEYS (without its id)."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _bound_to(place: str, key_id: str) -> bytes:
    return f"{VERSION}|{key_id}|{place}".encode()


def _parse_sealed(sealed: str) -> tuple[str, bytes]:
    version, _, rest = sealed.partition(".")
    key_id, _, body = rest.partition(".")
    if version != VERSION or not _KEY_ID.match(key_id):
        raise SealingError("not a sealed value of a known version")
    try:
        blob = base64.b64decode(body, altchars=b"-_", validate=True)
    except ValueError as error:  # binascii.Error is one, too
        raise SealingError("a sealed value is not valid base64") from error
    if len(blob) < NONCE_BYTES + TAG_BYTES:
        raise SealingError("a sealed value is cut short")
    return key_id, blob


def _parse_key(part: str) -> tuple[str, bytes]:
    key_id, _, encoded = part.strip().partition(":")
    if not _KEY_ID.match(key_id) or not encoded:
        raise ValueError("each key is written id:base64, ids of letters, digits, '-' and '_'")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error is one, too
        raise ValueError(f"key {key_id!r} is not valid base64") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {key_id!r} has {len(key)} bytes; AES-256 needs {KEY_BYTES}")
    if len(set(key)) < 12:
        raise ValueError(f"key {key_id!r} is weak: it repeats few byte values; use 32 random bytes")
    return key_id, key
