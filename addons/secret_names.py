"""Names of headers and parameters whose values are credentials, whatever these look like."""

import re
from functools import lru_cache

_COOKIES = frozenset({"cookie", "set-cookie", "cookie2", "set-cookie2"})
_WORDS = "token|secret|key|apikey|pass|password|passwd|passphrase|session|sid|sig|signature|credential|credentials|auth"
_SECRET = re.compile(rf"(?:^|[-_.])(?:{_WORDS})(?:$|[-_.])")
# They say so, and are none.
_HARMLESS = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key"})


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether what stands under a name is never shown.

    >>> is_secret_name("X-Amz-Security-Token"), is_secret_name("api_key"), is_secret_name("x-ratelimit-limit-tokens")
    (True, True, False)
    """
    folded = name.lower()
    return folded.replace("_", "-") in _COOKIES or (folded not in _HARMLESS and _SECRET.search(folded) is not None)
