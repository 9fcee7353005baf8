"""Admits a caller: one token, well formed, known, alive, within its limits; counted in the same Redis round trip.

Where a limit counts tokens or money, it only looks whether any are left; see reservation.py.
"""

from collections.abc import Set

from mitmproxy import http

from addons import refusal
from addons.call import Calls
from addons.gate import Gate
from addons.redaction import split_scheme
from addons.refusal import Refused, fail_closed
from addons.route_table import RouteTable
from shared import tokens
from shared.models import NOTHING, Amounts

_NOT_KNOWN_YET = Amounts()


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
    """Asks before the body is read, so that a refused upload costs nothing."""

    def __init__(self, calls: Calls, gate: Gate, table: RouteTable, pepper: bytes) -> None:
        self.calls = calls
        self._gate = gate
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
        method = flow.request.method
        routes = [call.candidates[name] for name in providers]
        needs_nothing = all(route.is_free(method) for route in routes)
        await self._gate.enter(call, providers, method, NOTHING if needs_nothing else _NOT_KNOWN_YET)
        if call.caller is not None:
            call.provider = table.providers[call.caller.project.provider]
            call.route = call.candidates[call.provider.name]
            call.dialect = call.provider.dialect
