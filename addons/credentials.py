"""Picks the project's provider key and destination; last before upstream.

The key is opened from its seal here and kept in the Call. It is put on the request only while the request's head is
written to the provider (see stream.py), so that the flow itself never holds it.
"""

import time
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from mitmproxy import http

from addons.call import Call, Calls, UpstreamCredential
from addons.redaction import COMMON_HEADERS
from addons.refusal import SERVICE_UNAVAILABLE, Refused, fail_closed
from addons.targets import Targets
from shared import logs
from shared.models import UpstreamKey
from shared.providers import Credential
from shared.sealing import Keyring, SealingError

log = logs.get("credentials")


@lru_cache(maxsize=1024)
def origin(base_url: str) -> SplitResult:
    """Return a base URL in parts."""
    return urlsplit(base_url)


def direct(request: http.Request, base_url: str, path: str) -> None:
    """Address a request to scheme, host, port and path prefix of a base URL, and to `path` there."""
    parts = origin(base_url)
    request.scheme = parts.scheme
    request.host = parts.hostname or ""
    request.port = parts.port or (443 if parts.scheme == "https" else 80)
    request.host_header = parts.netloc
    request.path = parts.path.rstrip("/") + path


@lru_cache(maxsize=1024)
def _credential_headers(own: str) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in COMMON_HEADERS | {own})


class Credentials:
    """Opens each sealed key once and remembers it; a changed key has another seal."""

    def __init__(self, calls: Calls, targets: Targets, keyring: Keyring) -> None:
        self.calls = calls
        self._targets = targets
        self._open = lru_cache(maxsize=4096)(keyring.open)

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Equip a request whose body is streamed: its head goes to the provider before the body has come."""
        if flow.request.stream:
            await self._equip(flow)

    @fail_closed
    async def request(self, flow: http.HTTPFlow) -> None:
        """Equip a request that has come completely."""
        if not flow.request.stream:
            await self._equip(flow)

    @fail_closed
    async def upstream_retry(self, flow: http.HTTPFlow) -> None:
        """Equip a request anew for its next attempt."""
        await self._equip(flow)

    async def _equip(self, flow: http.HTTPFlow) -> None:
        """Direct the request to its provider, with a key; refuse with 503 if there is none that can be used."""
        call = self.calls.of(flow)
        if call.caller is None or call.provider is None:
            raise Refused(SERVICE_UNAVAILABLE)
        if not call.attempts.base_url:
            call.path = flow.request.path
            call.attempts.started = time.monotonic()
            hidden = _credential_headers(call.provider.credential.header)
            fields = flow.request.headers.fields
            flow.request.headers.fields = tuple(field for field in fields if field[0].lower() not in hidden)
        call.credential = await self._credential(call, call.provider.credential)
        call.attempts.base_url = await self._base_url(call)
        direct(flow.request, call.attempts.base_url, call.path)

    async def _base_url(self, call: Call) -> str:
        url = await self._targets.pick_url(call)
        if url is None:
            self._targets.leave_key(call)
            raise Refused(self._targets.origins_down(call))
        return url

    async def _credential(self, call: Call, credential: Credential) -> UpstreamCredential:
        keys = self._targets.pick_keys(call)
        opened = [(key, plain) for key in keys if (plain := self._opened(key)) is not None]
        for key, plain in opened:
            if await self._targets.enters(call, key):
                return UpstreamCredential(key.id, credential.header, credential.value(plain))
        is_ours = bool(keys) and not opened
        raise Refused(SERVICE_UNAVAILABLE if is_ours else self._targets.keys_exhausted(call))

    def _opened(self, key: UpstreamKey) -> str | None:
        try:
            return self._open(key.sealed, f"upstream_keys:{key.id}")
        except SealingError as error:
            log.error("key_cannot_be_opened", upstream_key_id=key.id, reason=str(error))
            return None
