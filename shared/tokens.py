"""The withering token: how it is made, recognised without a look-up, stored and shown.

A token is `sk-llmp-`, 33 base62 characters that carry 24 random bytes, and 6 base62 characters that carry the
CRC-32 of the random part. The checksum lets a typo be refused without asking the store, and the fixed shape lets
secret scanners find a leaked token. Only an HMAC of the token is ever stored. The tokens of operators are made alike
behind a prefix of their own, so that neither kind is ever taken for the other.
"""

import hmac
import re
import secrets
import zlib

PREFIX = "sk-llmp-"
OPERATOR_PREFIX = "llmp-op-"
RANDOM_BYTES = 24
BODY_LENGTH = 33
CHECKSUM_LENGTH = 6
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_REST = re.compile(rf"([0-9A-Za-z]{{{BODY_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})\Z")
# A token may be embedded in anything that gets logged, so this one is not anchored and allows other lengths.
PATTERN = re.compile(rf"(?:{PREFIX}|{OPERATOR_PREFIX})[0-9A-Za-z]{{8,}}")


def generate(random_bytes: bytes | None = None, prefix: str = PREFIX) -> str:
    """Return a new token. `random_bytes` (24 of them) is for tests; by default they come from the system."""
    raw = secrets.token_bytes(RANDOM_BYTES) if random_bytes is None else random_bytes
    if len(raw) != RANDOM_BYTES:
        raise ValueError(f"a token is made of {RANDOM_BYTES} random bytes, not {len(raw)}")
    body = _base62(int.from_bytes(raw, "big"), BODY_LENGTH)
    return prefix + body + _checksum(body)


def is_well_formed(token: str, prefix: str = PREFIX) -> bool:
    """Tell whether prefix, length, alphabet and checksum fit; says nothing about whether the token exists."""
    found = _REST.match(token, len(prefix)) if token.startswith(prefix) else None
    return found is not None and _checksum(found[1]) == found[2]


def digest(token: str, pepper: bytes) -> str:
    """Return the hex HMAC-SHA256 under which the token is stored and looked up."""
    return hmac.digest(pepper, token.encode(), "sha256").hex()


def mask(secret: str) -> str:
    """Return the only form of a token or provider key that may be shown: a short head and the last four.

    >>> mask("sk-proj-abcdefghijklmnop")
    'sk-p****mnop'
    """
    for prefix in (PREFIX, OPERATOR_PREFIX):
        if secret.startswith(prefix):
            return f"{prefix}****{secret[-4:]}" if len(secret) >= len(prefix) + 12 else f"{prefix}****"
    return f"{secret[:4]}****{secret[-4:]}" if len(secret) >= 16 else "****"


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))
