"""Reserves more of limits of tokens and money for an answer that outruns what is reserved for it."""

from dataclasses import dataclass

from addons.call import Call
from addons.holds import Holds
from addons.price_list import PriceList
from addons.store import Store
from addons.unsaid import completion_so_far
from shared.holds_schema import NotExtended
from shared.models import Amounts

# What an answer gets in advance, in tokens.
STEP = 256


def tokens_so_far(call: Call) -> int:
    """Return the tokens of the prompt and of the answer up to now, as the provider counts them or as estimated."""
    prompt = call.answer.usage.prompt_tokens
    return (call.prompt_estimate or 0 if prompt is None else prompt) + completion_so_far(call)


@dataclass(slots=True)
class Watched:
    """An answer that streams, and what is reserved for its request in all, as far as its worker knows."""

    call: Call
    tokens: int
    cost: int

    @property
    def is_short(self) -> bool:
        """Whether the answer has outrun what is reserved, and still runs on."""
        return tokens_so_far(self.call) > self.tokens and self.call.interruption is None


class Supply:
    """Asks Redis for so much in all, so that it does no harm to ask again after a reply was lost."""

    def __init__(self, store: Store, holds: Holds, prices: PriceList) -> None:
        self._store = store
        self._holds = holds
        self._prices = prices

    async def give(self, watched: Watched) -> NotExtended | None:
        """Reserve what is missing, and a step in advance if that is to be had; tell why not.

        Raises StoreUnavailable.
        """
        needed, denied = tokens_so_far(watched.call), None
        for tokens in (needed + STEP, needed):
            denied = await self._extend(watched, tokens)
            if denied is None or denied.limit is None:
                break
        return denied

    async def _extend(self, watched: Watched, tokens: int) -> NotExtended | None:
        call = watched.call
        hold = self._holds.of(call.request_id)
        if hold is None:
            return None  # It has just been settled.
        cost = watched.cost + (self._prices.estimate(call, 0, tokens - watched.tokens) or 0)
        extended = await self._store.extend(hold, Amounts(tokens, cost))
        if isinstance(extended, NotExtended):
            return extended
        self._holds.replace(call.request_id, extended)
        watched.tokens, watched.cost = tokens, cost
        return None
