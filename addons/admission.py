"""Admits a caller: one token, well formed, known, alive, within its limits; counted in the same Redis round trip."""

from collections.abc import Set

from mitmproxy import http

from addons import refusal
from addons.call import Call, Calls
from addons.redaction import split_scheme
from addons.refusal import Refused, fail_closed
from addons.route_table import RouteTable
from addons.store import Store, StoreUnavailable
from shared import logs, tokens
from shared.models import Denial
from shared.providers import Provider, ProviderTable
from shared.redis_schema import Denied

_REFUSALS = {
    Denial.NOT_READY: refusal.SERVICE_UNAVAILABLE,
    Denial.TOKEN_NOT_FOUND: refusal.TOKEN_NOT_FOUND,
    Denial.TOKEN_INACTIVE: refusal.TOKEN_INACTIVE,
    Denial.TOKEN_EXPIRED: refusal.TOKEN_EXPIRED,
    Denial.PROJECT_INACTIVE: refusal.PROJECT_INACTIVE,
    Denial.ENDPOINT_NOT_FOUND: refusal.ENDPOINT_NOT_FOUND,
    Denial.QUOTA_EXCEEDED: refusal.QUOTA_EXCEEDED,
}

log = logs.get("admission")


def presented_token(presented: list[tuple[str, str]], schemes: Set[str]) -> str:
    """Return the one token among the presented (header, value) pairs, behind one of the lower-case schemes or none.

    Raises Refused for none, several, malformed.
    """
    if not presented:
        raise Refused(refusal.MISSING_TOKEN)
    if len(presented) > 1:
        raise Refused(refusal.invalid_request("More than one credential was sent."))
    scheme, token = split_scheme(presented[0][1])
    if token.lower() in schemes or scheme.lower() not in schemes:
        raise Refused(refusal.MISSING_TOKEN)
    if not tokens.is_well_formed(token):
        raise Refused(refusal.INVALID_TOKEN)
    return token


class Admission:
    """Asks the store before the body is read, so that a refused upload costs nothing."""

    def __init__(self, calls: Calls, store: Store, table: RouteTable, pepper: bytes) -> None:
        self.calls = calls
        self._store = store
        self._table = table
        self._pepper = pepper

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Identify and count the caller, or refuse with 401, 403, 404, 429 or 503."""
        call, table = self.calls.of(flow), self._table.current
        call.digest = tokens.digest(presented_token(call.presented, table.credential_schemes), self._pepper)
        call.presented = []  # It has served its purpose.
        # Another table may have come into force since the candidates were found.
        providers = [name for name in call.candidates if name in table.providers]
        try:
            verdict = await self._store.admit(call.digest, providers)
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=str(error))
            raise Refused(refusal.SERVICE_UNAVAILABLE) from error
        if isinstance(verdict, Denied):
            self._note_denial(call, verdict, table)
            raise Refused(_REFUSALS[verdict.reason])
        call.caller = verdict
        call.token_id, call.token_label = verdict.token_id, verdict.token_label
        self._settle_route(call, table.providers[verdict.project.provider])

    def _settle_route(self, call: Call, provider: Provider) -> None:
        call.provider = provider
        call.route = call.candidates[provider.name]
        call.dialect = provider.dialect

    def _note_denial(self, call: Call, denied: Denied, table: ProviderTable) -> None:
        call.token_id, call.token_label = denied.token_id, denied.token_label
        if denied.project is not None and denied.project.provider in table.providers:
            call.dialect = table.providers[denied.project.provider].dialect
