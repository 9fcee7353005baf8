"""Which keys a request presents, whether they are accepted, and how they may be shown."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from manager.mock_provider.errors import ProviderError

KEY_HEADERS = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key"},
)
WITHERING_PREFIX = "sk-llmp-"

type Header = tuple[bytes, bytes]


class Presented(NamedTuple):
    """The keys one request carried, and its headers in order with every key masked."""

    bearer: str
    api_key: str
    leaked: bool
    headers: list[Header]

    @property
    def shown(self) -> str:
        """The presented key, masked; empty without one."""
        return masked(self.bearer or self.api_key)


def masked(key: str) -> str:
    """First four and last four characters; nothing of a key so short that this would show it whole."""
    if len(key) <= 8:
        return "****" if key else ""
    return f"{key[:4]}****{key[-4:]}"


def presented(headers: Iterable[Header]) -> Presented:
    """Reads raw ASGI headers (lower-case names). A withering token in any key header counts as leaked."""
    carried = [(name, *_scheme_and_key(value)) for name, value in headers if name in KEY_HEADERS]
    bearer = next((key for name, scheme, key in carried if name == b"authorization" and scheme == "bearer"), "")
    api_key = next((key for name, _, key in carried if name == b"x-api-key"), "")
    leaked = any(key.startswith(WITHERING_PREFIX) for _, _, key in carried)
    return Presented(bearer, api_key, leaked, [h if h[0] not in KEY_HEADERS else _masked(h) for h in headers])


def _scheme_and_key(value: bytes) -> tuple[str, str]:
    """``("bearer", key)`` of ``Bearer key``, ``("", key)`` of a key alone (RFC 9110, 11.4: any case, any spaces)."""
    scheme, space, key = value.decode("latin-1").strip().partition(" ")
    return (scheme.lower(), key.strip()) if space else ("", scheme)


def _masked(header: Header) -> Header:
    scheme, key = _scheme_and_key(header[1])
    return header[0], f"{scheme.title()} {masked(key)}".strip().encode("latin-1")


def refuse_leaked(caller: Presented) -> None:
    """Raises the 401 ``withering_token_leaked`` if a token of the proxy came through."""
    if caller.leaked:
        message = "A withering token reached the provider: the proxy did not swap the key."
        raise ProviderError(401, message, code="withering_token_leaked")


def require_key(key: str, accepted: Collection[str]) -> None:
    """Raises the 401 ``invalid_api_key`` for no key, or one outside ``accepted`` (empty: any key will do)."""
    if not key:
        raise ProviderError(401, "You didn't provide an API key.", code="invalid_api_key")
    if accepted and key not in accepted:
        raise ProviderError(401, f"Incorrect API key provided: {masked(key)}.", code="invalid_api_key")
