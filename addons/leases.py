"""Tells Redis which requests of this worker still run, and settles those whose worker has died."""

from collections.abc import Callable
from datetime import UTC, datetime

from addons.endurance import Repeating
from addons.holds import Holds
from addons.price_list import PriceList
from addons.settlement import Settlement
from addons.store import Store, StoreUnavailable
from shared import logs
from shared.holds_schema import Held, decode_hold
from shared.models import Amounts, Outcome, Usage, UsageEvent
from shared.redis_schema import LEASE_MS, ContractError

# Three signs of life may be lost before a request is taken for lost.
PAUSE_SECONDS = LEASE_MS / 1000 / 4

log = logs.get("leases")


class Leases:
    """One task for the life of the worker; `append` takes the settlements of others' lost requests."""

    def __init__(
        self,
        store: Store,
        holds: Holds,
        append: Callable[[Settlement], None],
        prices: PriceList,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._holds = holds
        self._append = append
        self._prices = prices
        self._is_away = False
        self._renewing = Repeating(self._renew_if_possible, "leases", pause_seconds)

    def running(self) -> None:
        """Start."""
        self._renewing.start()

    async def done(self) -> None:
        """Stop."""
        await self._renewing.stop()

    async def _renew_if_possible(self) -> None:
        try:
            await self.renew()
            self._is_away = False
        except StoreUnavailable as error:
            if not self._is_away:
                log.warning("leases_not_renewed", reason=str(error))
            self._is_away = True

    async def renew(self) -> None:
        """Renew this worker's leases and settle what has expired. Raises StoreUnavailable."""
        for request_id, hold in await self._store.renew(list(self._holds)):
            try:
                held = decode_hold(hold)
            except ContractError as error:
                log.error("hold_not_readable", request_id=request_id, reason=str(error))
                await self._store.bury(request_id, hold, str(error))
                continue
            log.warning("request_lost", request_id=request_id)
            self._append(self._settlement(hold, held))

    def _settlement(self, hold: bytes, held: Held) -> Settlement:
        event = lost(held)
        prompt = held.request.prompt_tokens
        cost = self._prices.cost(event)
        return Settlement(event, hold, Amounts(prompt or 0, 0 if cost is None and not prompt else cost))


def lost(held: Held) -> UsageEvent:
    """Return the event of a request whose worker died: it may have reached the provider with its prompt, or not."""
    request, prompt = held.request, held.request.prompt_tokens
    return UsageEvent(
        request_id=request.request_id,
        occurred_at=request.occurred_at,
        project_id=request.project_id,
        token_id=request.token_id,
        upstream_key_id=None,
        sequence=held.sequence,
        provider=request.provider,
        route=request.route,
        method=request.method,
        model=request.model,
        status=0,
        outcome=Outcome.LOST,
        error_code=None,
        is_stream=request.is_stream,
        chunks=0,
        request_bytes=0,
        response_bytes=0,
        duration_ms=round((datetime.now(UTC) - request.occurred_at).total_seconds() * 1000, 3),
        first_byte_ms=None,
        usage=Usage() if prompt is None else Usage(prompt, None, prompt, is_estimate=True),
        model_asked=request.model,
    )
