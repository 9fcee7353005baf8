"""What requests cost, by the price table that the control plane publishes."""

from datetime import UTC, datetime

from addons.call import Call
from addons.endurance import Repeating
from addons.store import Store, StoreUnavailable
from shared import logs, prices
from shared.models import Usage, UsageEvent

# How long a new price may stay unnoticed, in seconds.
PAUSE_SECONDS = 15.0

log = logs.get("price_list")


class PriceList:
    """Follows the published table; until there is one, no cost is known."""

    def __init__(self, store: Store, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._published = b""
        self._table = prices.PriceTable()
        self._following = Repeating(self._follow, "price_list", pause_seconds)

    def running(self) -> None:
        """Start following."""
        self._following.start()

    async def done(self) -> None:
        """Stop following."""
        await self._following.stop()

    async def refresh(self) -> None:
        """Take over what is published now; a Redis that has lost it changes nothing. Raises StoreUnavailable."""
        published = await self._store.price_table()
        if published and published != self._published:
            self._published = published
            try:
                self._table = prices.decode_table(published)
            except prices.PriceError as error:
                log.error("prices_not_readable", reason=str(error))

    @property
    def is_known(self) -> bool:
        """Whether a table has been published, though it may be empty."""
        return bool(self._published)

    def cost(self, event: UsageEvent) -> int | None:
        """Return what an ended request cost, in nano-USD; None if that is not known."""
        return prices.cost_of(self._table, event)

    def estimate(self, call: Call, prompt: int, completion: int) -> int | None:
        """Return what a request would cost with so many tokens, in nano-USD; None if its model has no known price."""
        if call.caller is None or call.model is None:
            return None
        most = Usage(prompt, completion, prompt + completion)
        # Models that only read, such as those for embeddings, have no price for anything else.
        for usage in (most, Usage(prompt)):
            cost = prices.cost(self._table, call.caller.project.provider, call.model, usage, datetime.now(UTC))
            if cost is not None:
                return cost
        return None

    async def _follow(self) -> None:
        try:
            await self.refresh()
        except StoreUnavailable as error:
            log.warning("prices_not_refreshed", reason=str(error))
