"""The one way in: asks Redis to let a request in, and words its no.

Admission asks at a request's head. If a limit counts tokens or money, nothing is taken there: it is asked again when
the body tells how much the request may need (see reservation.py).
"""

from collections.abc import Sequence

from addons import refusal
from addons.call import Call
from addons.ending import Refusal
from addons.holds import Holds
from addons.limit_refusals import refusal_of
from addons.outage import Outage
from addons.refusal import Refused
from addons.route_table import RouteTable
from addons.store import Store, StoreCannotWrite, StoreUnavailable
from shared import logs
from shared.holds_schema import OpenRequest
from shared.models import Amounts, Caller, Denial
from shared.redis_schema import Denied

_REFUSALS = {
    Denial.NOT_READY: refusal.SERVICE_UNAVAILABLE,
    Denial.TOKEN_NOT_FOUND: refusal.TOKEN_NOT_FOUND,
    Denial.TOKEN_INACTIVE: refusal.TOKEN_INACTIVE,
    Denial.TOKEN_EXPIRED: refusal.TOKEN_EXPIRED,
    Denial.PROJECT_INACTIVE: refusal.PROJECT_INACTIVE,
    Denial.ENDPOINT_NOT_FOUND: refusal.ENDPOINT_NOT_FOUND,
}

log = logs.get("gate")


class Gate:
    """Notes on the call who was let in, and what is held for it."""

    def __init__(self, store: Store, table: RouteTable, holds: Holds, outage: Outage) -> None:
        self._store = store
        self._table = table
        self._holds = holds
        self._outage = outage

    async def enter(self, call: Call, providers: Sequence[str], method: str, amounts: Amounts) -> None:
        """Let a call in, taking the amounts of every limit or none. Raises Refused with 401, 403, 404, 429 or 503."""
        request = _described(call, providers, method, amounts)
        try:
            verdict = await self._store.admit(call.digest, providers, amounts, request)
        except StoreCannotWrite as error:
            verdict = await self._look(call, providers)
            if isinstance(verdict, Caller):
                log.warning("limits_not_counted", reason=str(error))
                call.is_admitted = self._outage.enter(call, verdict, amounts)
        except StoreUnavailable as error:
            raise Refused(refusal.SERVICE_UNAVAILABLE) from error
        if isinstance(verdict, Denied):
            self._note_denial(call, verdict)
            raise Refused(refusal.OTHER_PROVIDER if _is_elsewhere(call, verdict) else _refusal_of(verdict))
        self._note_caller(call, verdict)

    async def _look(self, call: Call, providers: Sequence[str]) -> Caller | Denied:
        try:
            return await self._store.peek(call.digest, providers)
        except StoreUnavailable as error:
            raise Refused(refusal.SERVICE_UNAVAILABLE) from error

    def _note_caller(self, call: Call, caller: Caller) -> None:
        call.caller, call.project, call.project_id = caller, caller.project, caller.project.id
        call.token_id, call.token_label, call.standing = caller.token_id, caller.token_label, caller.standing
        if caller.hold is not None:
            call.is_admitted = True
            self._holds.keep(call.request_id, caller.hold)

    def _note_denial(self, call: Call, denied: Denied) -> None:
        call.token_id, call.token_label = denied.token_id, denied.token_label
        call.standing = () if denied.limit is None else (denied.limit,)
        call.project, call.project_id = denied.project, denied.project.id if denied.project else ""
        providers = self._table.current.providers
        if denied.project is not None and denied.project.provider in providers:
            call.dialect = providers[denied.project.provider].dialect


def _is_elsewhere(call: Call, denied: Denied) -> bool:
    """Tell whether the client came for the host of another provider than its token's."""
    is_not_offered = denied.reason is Denial.ENDPOINT_NOT_FOUND and call.offered is not None
    return is_not_offered and denied.project is not None and denied.project.provider not in (call.offered or ())


def _refusal_of(denied: Denied) -> Refusal:
    return _REFUSALS.get(denied.reason) or refusal_of(denied.reason, denied.limit, denied.retry_after_ms)


def _described(call: Call, providers: Sequence[str], method: str, amounts: Amounts) -> OpenRequest:
    provider = providers[0] if len(providers) == 1 else ""
    route = call.candidates[providers[0]].name if providers else ""
    return OpenRequest(
        call.request_id,
        call.occurred_at,
        provider,
        route,
        method,
        call.model,
        call.is_stream,
        call.prompt_estimate if amounts.tokens else None,
    )
