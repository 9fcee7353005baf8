"""Lets a request pass only if its method and path stand in some provider's route table."""

from mitmproxy import http

from addons.call import Calls
from addons.refusal import ENDPOINT_NOT_FOUND, Refused, fail_closed, method_not_allowed
from addons.route_table import RouteTable
from shared.providers import ProviderTable


def likely_dialect(request: http.Request, table: ProviderTable, names: list[str]) -> str:
    """Return how errors are worded until the token tells: as by the provider whose own credential header was used."""
    known = [table.providers[name] for name in names or table.providers]
    used = [provider for provider in known if provider.credential.header in request.headers]
    return (used or known)[0].dialect


class Allowlist:
    """Finds the candidate routes; which provider is meant, admission learns from the token."""

    def __init__(self, calls: Calls, table: RouteTable) -> None:
        self.calls = calls
        self._table = table

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse unknown paths with 404 and known paths with another method with 405."""
        table = self._table.current
        match = table.match(flow.request.method, flow.request.path.partition("?")[0])
        call = self.calls.of(flow)
        found = {name: route for name, route in match.routes.items() if call.offered is None or name in call.offered}
        call.dialect = likely_dialect(flow.request, table, list(found))
        if not found:
            raise Refused(method_not_allowed(match.allowed) if match.allowed else ENDPOINT_NOT_FOUND)
        call.candidates = found
