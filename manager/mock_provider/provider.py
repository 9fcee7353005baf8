"""The provider between two requests: its behaviour, its keys, what it has seen and what it holds."""

import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from manager.mock_provider import behaviour as behaviours
from manager.mock_provider import keys
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.holds import Holds
from manager.mock_provider.key_rules import KeyRules, digest
from manager.mock_provider.ledger import Ledger
from manager.mock_provider.quotas import Quotas
from manager.mock_provider.repertoire import Repertoire

_EVERYONE = ""


class Provider:
    """State shared by all requests; belongs to the event loop that serves them."""

    def __init__(
        self,
        behaviour: Behaviour,
        accepted_keys: frozenset[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.initial = behaviour
        self.accepted_keys = accepted_keys
        self.key_rules = KeyRules()
        self.ledger = Ledger()
        self.holds = Holds()
        self.repertoire = Repertoire()
        self._quotas = Quotas(clock)
        self.behave(behaviour)

    def behave(self, behaviour: Behaviour) -> None:
        """Behaves like this from the next request on; random choices start anew from its seed, counts from zero."""
        self.behaviour = behaviour
        self._chance = random.Random(behaviour.seed)  # noqa: S311 - repeatable faults, nothing secret
        self._quotas.forget(_EVERYONE)

    def treat(self, key: str, fields: Mapping[str, Any]) -> None:
        """Behaves like this towards this key, which is accepted from now on. Raises ValueError as a behaviour does."""
        self.key_rules.put(key, fields)
        self._quotas.forget(digest(key))

    def require_key(self, key: str) -> None:
        """Raises the 401 ``invalid_api_key`` for no key, or one that is not accepted."""
        if key not in self.key_rules:
            keys.require_key(key, self.accepted_keys)

    def behaviour_for(self, override: bytes | None, key: str = "") -> Behaviour:
        """The behaviour for one request: its ``x-mock-behaviour`` header (JSON) over its key's over the provider's."""
        base = self.key_rules.over(self.behaviour, key)
        if override is None:
            return base
        try:
            return behaviours.from_json(override, base)
        except ValueError as fault:
            raise ProviderError(400, f"x-mock-behaviour: {fault}", code="invalid_mock_behaviour") from fault

    def fail_if_due(self, behaviour: Behaviour, key: str, override: bytes | None = None) -> None:
        """Raises the error due to this request: for its rate, as one of the first, by ``status`` or by chance."""
        if behaviour.rate is not None and (wait := self._quotas.wait(digest(key), behaviour.rate)):
            after = behaviour.retry_after_s
            raise error_of(429, math.ceil(wait) if after is None else after)
        counted_as = self._counted_as(behaviour, key, override) if behaviour.fail_first else _EVERYONE
        if behaviour.fail_first and self._quotas.fails(counted_as, behaviour.fail_first):
            raise injected_error(behaviour)
        if behaviour.status is not None and behaviour.status >= 400:
            raise error_of(behaviour.status, behaviour.retry_after_s)
        self.fail_by_chance(behaviour)

    def _counted_as(self, behaviour: Behaviour, key: str, override: bytes | None) -> str:
        """Whose ``fail_first`` it is: that of the header's text, the key or the provider."""
        of_key = self.key_rules.over(self.behaviour, key).fail_first
        if override is not None and behaviour.fail_first != of_key:
            return override.decode("latin-1")
        return digest(key) if of_key != self.behaviour.fail_first else _EVERYONE

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
    """The error ``error_status`` stands for."""
    return error_of(behaviour.error_status, behaviour.retry_after_s)


def error_of(status: int, after: float | None = None) -> ProviderError:
    """The error a status stands for, worded as OpenAI words it; to be retried ``after`` so many seconds, if set."""
    headers = () if after is None else ((b"retry-after", b"%g" % after),)
    message, code = _WORDS.get(status, _SERVER_ERROR)
    return ProviderError(status, message, code=code, headers=headers)


type _Words = tuple[str, str | None]

_SERVER_ERROR: _Words = ("The server had an error while processing your request. Sorry about that!", None)
_WORDS: dict[int, _Words] = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    402: ("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"),
    403: ("You are not allowed to do this with your API key.", "permission_denied"),
    429: ("Rate limit reached for requests.", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", None),
}
