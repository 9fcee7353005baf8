"""Which keys a request presents, whether they are accepted, and how they may be shown."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from manager.mock_provider.errors import ProviderError

KEY_HEADERS = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key"},
)
WITHERING_PREFIX = "sk-llmp-"
SUBPROTOCOLS = b"sec-websocket-protocol"
_KEY_SUBPROTOCOL = "openai-insecure-api-key."

type Header = tuple[bytes, bytes]


class Presented(NamedTuple):
    """The keys one request carried, and its headers as ``name: value`` lines with every key masked."""

    bearer: str
    api_key: str
    leaked: bool
    headers: bytes

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
    shown, bearer, api_key, leaked = [], "", "", False
    for header in headers:
        if header[0] in KEY_HEADERS:
            name, (scheme, key) = header[0], _scheme_and_key(header[1])
            bearer = bearer or (key if scheme == "Bearer" and name == b"authorization" else "")
            api_key = api_key or (key if name == b"x-api-key" else "")
            leaked = leaked or key.startswith(WITHERING_PREFIX)
            header = name, f"{scheme} {masked(key)}".strip().encode("latin-1")
        elif header[0] == SUBPROTOCOLS:
            key, rest = _key_and_subprotocols(header[1])
            bearer, leaked = bearer or key, leaked or key.startswith(WITHERING_PREFIX)
            header = header[0], rest
        shown.append(b"%b: %b" % header)
    return Presented(bearer, api_key, leaked, b"\n".join(shown))


def _scheme_and_key(value: bytes) -> tuple[str, str]:
    """``("Bearer", key)`` of ``Bearer key`` in any case (RFC 9110, 11.1), ``("", key)`` of a key alone."""
    scheme, space, key = value.decode("latin-1").strip().partition(" ")
    return (scheme.title(), key.strip()) if space else ("", scheme)


def _key_and_subprotocols(value: bytes) -> tuple[str, bytes]:
    """The key a browser sends as a WebSocket subprotocol, as it can set no header; and the value with it masked."""
    offers = [offer.strip() for offer in value.decode("latin-1").split(",")]
    found = [offer.removeprefix(_KEY_SUBPROTOCOL) for offer in offers if offer.startswith(_KEY_SUBPROTOCOL)]
    shown = [_KEY_SUBPROTOCOL + masked(found[0]) if offer.startswith(_KEY_SUBPROTOCOL) else offer for offer in offers]
    return (found[0] if found else ""), ", ".join(shown).encode("latin-1")


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
