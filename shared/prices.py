"""What requests cost: a table of dated prices, and the one function that both planes reckon with.

All money is whole nano-USD (10⁻⁹ USD), in integers throughout. A price of tokens is nano-USD per million of them, so
that 2.50 USD per million is 2 500 000 000; the cost of a request is added up exactly and then rounded up to the next
nano-USD, once, so that no budget is ever charged less than what was used.
"""

import re
from datetime import datetime
from functools import cached_property

import msgspec

from shared.models import Usage, UsageEvent

PER = 1_000_000
# Names of models come from clients: longer ones are no names, and what is remembered of them is forgotten at so many.
_NAME_LENGTH = 256
_REMEMBERED = 2048


class PriceError(Exception):
    """What should be a price table is none."""


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the tokens of some models of a provider cost from one moment (included) until another (not included).

    `model` is a glob of `*` and `?`, in any case of letters. With `above`, it holds for requests whose prompt has more
    tokens than that, for all of their tokens. Rates are nano-USD per million tokens, `request` is nano-USD for each
    request on top. A rate that is None is that of the whole which these tokens are part of: cached ones, those written
    to the cache and audio ones cost as prompt or completion does, reasoning as completion does. If there is no rate for
    prompt or completion itself, requests that have such tokens cost nobody knows what.
    """

    provider: str
    model: str
    prompt: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    audio_prompt: int | None = None
    audio_completion: int | None = None
    request: int | None = None
    above: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    is_override: bool = False

    def holds(self, moment: datetime, prompt_tokens: int) -> bool:
        """Tell whether this price is in force at a moment for a prompt of that size."""
        has_begun = self.valid_from is None or self.valid_from <= moment
        has_ended = self.valid_until is not None and self.valid_until <= moment
        return has_begun and not has_ended and (self.above == 0 or prompt_tokens > self.above)


class PriceTable(msgspec.Struct, frozen=True, dict=True):
    """All prices there are. Remembers which ones fit a model."""

    prices: tuple[Price, ...] = ()

    def find(self, provider: str, model: str, moment: datetime, prompt_tokens: int) -> Price | None:
        """Return the price in force, None if there is none.

        Of several, overrides win; then the one whose glob says most, a plain name before all; then the one that began
        last; then the one for the longest prompts.
        """
        return next((price for price in self._fitting(provider, model) if price.holds(moment, prompt_tokens)), None)

    def _fitting(self, provider: str, model: str) -> tuple[Price, ...]:
        if len(model) > _NAME_LENGTH:
            return ()
        key = (provider, model.lower())
        known = self._remembered.get(key)
        if known is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            of_provider = self._patterns.get(provider, ())
            known = tuple(price for pattern, price in of_provider if pattern.fullmatch(key[1]))
            self._remembered[key] = known
        return known

    @cached_property
    def _patterns(self) -> dict[str, list[tuple[re.Pattern[str], Price]]]:
        found: dict[str, list[tuple[re.Pattern[str], Price]]] = {}
        for price in sorted(self.prices, key=_precedence, reverse=True):
            found.setdefault(price.provider, []).append((_pattern(price.model), price))
        return found

    @cached_property
    def _remembered(self) -> dict[tuple[str, str], tuple[Price, ...]]:
        return {}


_table_decoder = msgspec.json.Decoder(PriceTable)


def encode_table(table: PriceTable) -> bytes:
    """Return what is published of a price table."""
    return msgspec.json.encode(table)


def decode_table(payload: bytes) -> PriceTable:
    """Read what was published; raises PriceError if it is no price table."""
    try:
        return _table_decoder.decode(payload)
    except (ValueError, msgspec.MsgspecError) as error:
        raise PriceError(f"unreadable price table: {error}") from error


def cost(table: PriceTable, provider: str, model: str | None, usage: Usage, moment: datetime) -> int | None:
    """Return the nano-USD that a request at a moment costs, rounded up; None if that cannot be known.

    It is not known without a price for the model, or if the provider did not say how many tokens there were. A count
    that is missing follows from the total, if that was said.
    """
    prompt, completion = _wholes(usage)
    price = None if model is None else table.find(provider, model, moment, prompt or 0)
    if price is None or (prompt is None and completion is None):
        return None
    asked = _cost_of_prompt(price, usage, prompt)
    answered = _cost_of_completion(price, usage, completion)
    if asked is None or answered is None:
        return None
    return -(-(asked + answered) // PER) + (price.request or 0)


def cost_of(table: PriceTable, event: UsageEvent) -> int | None:
    """Return what an ended request costs, as `cost` does.

    The model that served may go by a name that nobody knows a price of; then it costs what was asked for.
    """
    for model in (event.model, event.model_asked):
        found = cost(table, event.provider, model, event.usage, event.occurred_at)
        if found is not None:
            return found
    return None


def _wholes(usage: Usage) -> tuple[int | None, int | None]:
    prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if total is not None:
        if prompt is None and completion is not None:
            prompt = max(0, total - completion)
        elif completion is None and prompt is not None:
            completion = max(0, total - prompt)
    return prompt, completion


def _cost_of_prompt(price: Price, usage: Usage, tokens: int | None) -> int | None:
    parts = (
        (usage.cached_tokens, price.cached),
        (usage.cache_write_tokens, price.cache_write),
        (usage.audio_prompt_tokens, price.audio_prompt),
    )
    return _cost_of(tokens, price.prompt, parts)


def _cost_of_completion(price: Price, usage: Usage, tokens: int | None) -> int | None:
    parts = ((usage.reasoning_tokens, price.reasoning), (usage.audio_completion_tokens, price.audio_completion))
    return _cost_of(tokens, price.completion, parts)


def _cost_of(tokens: int | None, rate: int | None, parts: tuple[tuple[int | None, int | None], ...]) -> int | None:
    """Return the cost, times a million, of some tokens and of the parts of them that have rates of their own."""
    if tokens is None:
        # What has no rate is not part of what this model does: embeddings complete nothing.
        return 0 if rate is None else None
    rest, amount = tokens, 0
    for part, part_rate in parts:
        # Parts may overlap, as audio that was cached; no token is paid for twice.
        counted = min(part or 0, rest)
        if part_rate is not None:
            amount, rest = amount + counted * part_rate, rest - counted
    if rest and rate is None:
        return None
    return amount + rest * (rate or 0)


def _precedence(price: Price) -> tuple[bool, bool, int, float, int]:
    literal = len(price.model) - price.model.count("*") - price.model.count("?")
    begun = float("-inf") if price.valid_from is None else price.valid_from.timestamp()
    return price.is_override, literal == len(price.model), literal, begun, price.above


def _pattern(glob: str) -> re.Pattern[str]:
    # As in addons/request_policy.py: parts are taken where they come first, so that no name can make this take long.
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in glob.lower().split("*"))
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)
