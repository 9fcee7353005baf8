"""Picks the project's provider key and destination; last before upstream.

The key is opened from its seal here and kept in the Call. It is put on the request only while the request's head is
written to the provider (see upstream.py), so that the flow itself never holds it.
"""

from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from mitmproxy import http

from addons.call import Calls, UpstreamCredential
from addons.redaction import COMMON_HEADERS
from addons.refusal import SERVICE_UNAVAILABLE, Refused, fail_closed
from shared import logs
from shared.models import UpstreamKey
from shared.providers import Credential
from shared.sealing import Keyring, SealingError

log = logs.get("credentials")


@lru_cache(maxsize=1024)
def origin(base_url: str) -> SplitResult:
    """Return a base URL in parts."""
    return urlsplit(base_url)


def direct(request: http.Request, base_url: str) -> None:
    """Address a request to scheme, host, port and path prefix of a base URL."""
    parts = origin(base_url)
    request.scheme = parts.scheme
    request.host = parts.hostname or ""
    request.port = parts.port or (443 if parts.scheme == "https" else 80)
    request.host_header = parts.netloc
    request.path = parts.path.rstrip("/") + request.path


class Credentials:
    """Opens each sealed key once and remembers it; a changed key has another seal."""

    def __init__(self, calls: Calls, keyring: Keyring) -> None:
        self.calls = calls
        self._open = lru_cache(maxsize=4096)(keyring.open)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Direct the request to its provider; refuse with 503 if no key of the project can be used."""
        call = self.calls.of(flow)
        if call.caller is None or call.provider is None:
            raise Refused(SERVICE_UNAVAILABLE)
        project = call.caller.project
        call.credential = self._credential(project.keys, call.provider.credential)
        for name in COMMON_HEADERS | {call.provider.credential.header}:
            flow.request.headers.pop(name, None)
        direct(flow.request, project.base_url or call.provider.base_url)

    def _credential(self, keys: tuple[UpstreamKey, ...], credential: Credential) -> UpstreamCredential:
        for key in keys:
            try:
                opened = self._open(key.sealed, f"upstream_keys:{key.id}")
            except SealingError as error:
                log.error("key_cannot_be_opened", upstream_key_id=key.id, reason=str(error))
            else:
                return UpstreamCredential(key.id, credential.header, credential.value(opened))
        raise Refused(SERVICE_UNAVAILABLE)
