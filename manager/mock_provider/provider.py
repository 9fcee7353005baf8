"""The provider between two requests: its behaviour, its keys, what it has seen and what it holds."""

import random

from manager.mock_provider import behaviour as behaviours
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.holds import Holds
from manager.mock_provider.ledger import Ledger
from manager.mock_provider.repertoire import Repertoire


class Provider:
    """State shared by all requests; belongs to the event loop that serves them."""

    def __init__(self, behaviour: Behaviour, accepted_keys: frozenset[str]) -> None:
        self.accepted_keys = accepted_keys
        self.ledger = Ledger()
        self.holds = Holds()
        self.repertoire = Repertoire()
        self.behave(behaviour)

    def behave(self, behaviour: Behaviour) -> None:
        """Behaves like this from the next request on; the random choices start anew from its seed."""
        self.behaviour = behaviour
        self._chance = random.Random(behaviour.seed)  # noqa: S311 - repeatable faults, nothing secret

    def behaviour_for(self, override: bytes | None) -> Behaviour:
        """The behaviour for one request, with its ``x-mock-behaviour`` header (JSON) laid over it."""
        if override is None:
            return self.behaviour
        try:
            return behaviours.from_json(override, self.behaviour)
        except ValueError as fault:
            raise ProviderError(400, f"x-mock-behaviour: {fault}", code="invalid_mock_behaviour") from fault

    def fail_by_chance(self, behaviour: Behaviour) -> None:
        """Raises the configured error for ``error_rate`` of the calls."""
        if self._happens(behaviour.error_rate):
            raise injected_error(behaviour)

    def cuts_by_chance(self, behaviour: Behaviour) -> bool:
        """Whether to cut this answer: true for ``abort_rate`` of the calls."""
        return self._happens(behaviour.abort_rate)

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._chance.random() < rate


def injected_error(behaviour: Behaviour) -> ProviderError:
    """The error ``error_status`` stands for, worded as OpenAI words it."""
    after = behaviour.retry_after_s
    headers = () if after is None else ((b"retry-after", b"%g" % after),)
    if behaviour.error_status == 429:
        message = "Rate limit reached for requests."
        return ProviderError(429, message, code="rate_limit_exceeded", headers=headers)
    message = "The server had an error while processing your request. Sorry about that!"
    return ProviderError(behaviour.error_status, message, headers=headers)
