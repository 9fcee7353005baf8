"""Picks the project's provider key and destination; last before upstream.

The key is opened from its seal here and kept in the Call. It is put on the request only while the request's head is
written to the provider (see stream_answers.py), so that the flow itself never holds it.
"""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from mitmproxy import http

from addons import patience
from addons.call import Call, Calls, UpstreamCredential
from addons.ending import Refusal
from addons.redaction import COMMON_HEADERS
from addons.refusal import SERVICE_UNAVAILABLE, Refused, fail_closed
from addons.targets import Targets
from shared import logs
from shared.models import UpstreamKey
from shared.providers import Credential
from shared.sealing import Keyring, SealingError

log = logs.get("credentials")


@dataclass(frozen=True, slots=True)
class Destination:
    """A base URL in parts. `authority` is host and port as they are written, `prefix` stands before every path."""

    scheme: str
    host: str
    port: int
    authority: str
    prefix: str


@lru_cache(maxsize=1024)
def destination(base_url: str) -> Destination:
    """Return a base URL in parts."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Destination(parts.scheme, parts.hostname or "", port, parts.netloc, parts.path.rstrip("/"))


def direct(request: http.Request, base_url: str, path: str) -> None:
    """Address a request to scheme, host, port and path prefix of a base URL, and to `path` there."""
    there = destination(base_url)
    request.scheme = there.scheme
    # mitmproxy's own setters of these two would each write the Host header, too.
    request.data.host = there.host
    request.data.port = there.port
    request.host_header = there.authority
    request.path = there.prefix + path


def _will_pass(flow: http.HTTPFlow, call: Call, missing: Refusal) -> bool:
    """Tell whether the request is to wait for what is missing.

    A provider that is down may soon be up. A project whose keys are all out has to know; but a retry waits, since
    another request may just be trying the key out. A streamed body is coming already and would pile up.
    """
    is_passing = missing.code == "circuit_open" or (
        call.attempts.count > 0 and missing.code == "upstream_keys_exhausted"
    )
    return is_passing and not flow.request.stream


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
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Equip a request whose body is streamed: its head goes to the provider before the body has come."""
        return self._equip(flow) if flow.request.stream else None

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Equip a request that has come completely."""
        return None if flow.request.stream else self._equip(flow)

    @fail_closed
    def upstream_retry(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Equip a request anew for its next attempt."""
        return self._equip(flow)

    def _equip(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
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
        if not self._choose_at_once(call, call.provider.credential):
            return self._wait_for_choice(flow, call, call.provider.credential)
        direct(flow.request, call.attempts.base_url, call.path)
        return None

    def _choose_at_once(self, call: Call, credential: Credential) -> bool:
        """Choose, unless a breaker has a say: then it has to be asked, and perhaps waited for."""
        url = self._targets.url_at_once(call)
        for key in self._targets.pick_keys(call) if url is not None else ():
            plain = self._opened(key)
            if plain is not None:
                if self._targets.is_kept_away(key):
                    return False
                call.use(UpstreamCredential(key.id, credential.header, credential.value(plain)))
                call.attempts.base_url = url or ""
                return True
        return False

    async def _wait_for_choice(self, flow: http.HTTPFlow, call: Call, credential: Credential) -> None:
        while (missing := await self._choose(call, credential)) is not None:
            if not _will_pass(flow, call, missing) or not await patience.outlasts(call, missing.retry_after or 1):
                if call.interruption is not None:
                    return  # Whatever interrupted it also says how it ends: see stream_attempts.py.
                raise Refused(missing)
        direct(flow.request, call.attempts.base_url, call.path)

    async def _choose(self, call: Call, credential: Credential) -> Refusal | None:
        """Choose a key and a base URL; return what to say if there is none of one of them right now."""
        chosen = await self._choose_key(call, credential)
        if not isinstance(chosen, UpstreamCredential):
            return chosen
        call.use(chosen)
        url = await self._targets.pick_url(call)
        if url is None:
            self._targets.leave_key(call)
            return self._targets.origins_down(call)
        call.attempts.base_url = url
        return None

    async def _choose_key(self, call: Call, credential: Credential) -> UpstreamCredential | Refusal:
        keys = self._targets.pick_keys(call)
        opened = [(key, plain) for key in keys if (plain := self._opened(key)) is not None]
        for key, plain in opened:
            if await self._targets.enters(call, key):
                return UpstreamCredential(key.id, credential.header, credential.value(plain))
        is_ours = bool(keys) and not opened
        return SERVICE_UNAVAILABLE if is_ours else self._targets.keys_exhausted(call)

    def _opened(self, key: UpstreamKey) -> str | None:
        try:
            return self._open(key.sealed, f"upstream_keys:{key.id}")
        except SealingError as error:
            log.error("key_cannot_be_opened", upstream_key_id=key.id, reason=str(error))
            return None
