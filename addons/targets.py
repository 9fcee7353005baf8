"""Where a request may go and with which key: the project's base URLs in their order, its keys by weight.

What a breaker keeps away is passed over; what has failed for this very request comes last, or not at all.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence

from addons.breakers import Breakers
from addons.call import Call
from addons.ending import Refusal
from addons.failure import Failure
from addons.refusal import circuit_open, upstream_keys_exhausted
from shared.models import Feature, Project, UpstreamKey
from shared.redis_schema import key_subject, origin_subject


def has_feature(call: Call, feature: Feature) -> bool:
    """Tell whether an optional behaviour is on: the project has the last word, then the provider's table."""
    by_provider = call.provider.features.get(feature, True) if call.provider else True
    return call.caller.project.features.get(feature, by_provider) if call.caller else by_provider


def base_urls(call: Call) -> list[str]:
    """Return the base URLs of the call's project, the preferred one first."""
    if call.caller is None or call.provider is None:
        return []
    project = call.caller.project
    fallbacks = project.fallback_urls if has_feature(call, Feature.FALLBACK) else ()
    return [project.base_url or call.provider.base_url, *fallbacks]


def by_weight(keys: Sequence[UpstreamKey], chance: Callable[[], float]) -> list[UpstreamKey]:
    """Return the keys in a random order in which heavier ones tend to be first, exactly in proportion to weight.

    After Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).
    """
    if len(keys) < 2:
        return list(keys)
    return sorted(keys, key=lambda key: math.log(max(chance(), 1e-300)) / max(key.weight, 1), reverse=True)


class Targets:
    """Picks base URLs and keys. `chance` gives 0..1."""

    def __init__(self, breakers: Breakers, chance: Callable[[], float] = random.random) -> None:
        self._breakers = breakers
        self._chance = chance

    def url_at_once(self, call: Call) -> str | None:
        """Return what `pick_url` would return, if that needs no waiting; None if it does."""
        url = min(base_urls(call), key=lambda url: url in call.attempts.failed_urls, default=None)
        return url if url and not self._breakers.is_open(origin_subject(url)) else None

    def is_kept_away(self, key: UpstreamKey) -> bool:
        """Tell whether a breaker has a say about a key, so that `enters` may have to wait."""
        return self._breakers.is_open(key_subject(key.id))

    async def pick_url(self, call: Call) -> str | None:
        """Return the first base URL that is not kept away, those untried first; None if there is none."""
        for url in sorted(base_urls(call), key=lambda url: url in call.attempts.failed_urls):
            if await self._enters(call, origin_subject(url)):
                return url
        return None

    def pick_keys(self, call: Call) -> list[UpstreamKey]:
        """Return the keys that are not kept away, best first; `enters` must be asked for the one that is used."""
        return [key for key in self._candidates(call) if self._allows(call, key_subject(key.id))]

    async def enters(self, call: Call, key: UpstreamKey) -> bool:
        """Let the call use a key, perhaps as its probe."""
        return await self._enters(call, key_subject(key.id))

    def leave_key(self, call: Call) -> None:
        """Give back the probe of a key about which nothing was learned."""
        if call.credential:
            self._leave(call, key_subject(call.credential.key_id))

    def leave(self, call: Call) -> None:
        """Give back what the call was to probe: it ended without saying anything about it."""
        for subject in list(call.attempts.probes):
            self._leave(call, subject)

    def _leave(self, call: Call, subject: str) -> None:
        if subject in call.attempts.probes:
            call.attempts.probes.discard(subject)
            self._breakers.leave(subject)

    def seconds_left(self, call: Call, failure: Failure) -> float:
        """Return how long what failed is kept away from now on."""
        if failure.blames == "key" and call.credential:
            return self._breakers.seconds_left(key_subject(call.credential.key_id))
        return self._breakers.seconds_left(origin_subject(call.attempts.base_url))

    def fail_over(self, call: Call) -> bool:
        """Set the used key aside for this call; tell whether another one can be used in its place."""
        if not has_feature(call, Feature.KEY_FAILOVER) or call.credential is None:
            return False
        failed = call.credential.key_id
        others = [key for key in self._candidates(call) if key.id != failed]
        if not any(self._allows(call, key_subject(key.id)) for key in others):
            return False
        call.attempts.failed_keys.add(failed)
        return True

    def fall_back(self, call: Call) -> bool:
        """Note that the used base URL failed; tell whether another one, untried, can be used in its place."""
        call.attempts.failed_urls.add(call.attempts.base_url)
        others = [url for url in base_urls(call) if url not in call.attempts.failed_urls]
        return any(self._allows(call, origin_subject(url)) for url in others)

    def keys_exhausted(self, call: Call) -> Refusal:
        """Return the refusal for a project none of whose keys can be used, with the soonest time to retry."""
        keys = call.caller.project.keys if call.caller else ()
        return upstream_keys_exhausted(_soonest(self._breakers.seconds_left(key_subject(key.id)) for key in keys))

    def origins_down(self, call: Call) -> Refusal:
        """Return the refusal for a project none of whose base URLs can be used."""
        urls = base_urls(call)
        return circuit_open(_soonest(self._breakers.seconds_left(origin_subject(url)) for url in urls))

    def _candidates(self, call: Call) -> list[UpstreamKey]:
        project: Project | None = call.caller.project if call.caller else None
        keys = [key for key in project.keys if key.id not in call.attempts.failed_keys] if project else []
        return by_weight(keys, self._chance)

    def _allows(self, call: Call, subject: str) -> bool:
        return not has_feature(call, Feature.BREAKER) or self._breakers.allows(subject)

    async def _enters(self, call: Call, subject: str) -> bool:
        if not has_feature(call, Feature.BREAKER):
            return True
        has_entered = await self._breakers.enter(subject)
        if has_entered and self._breakers.is_open(subject):
            call.attempts.probes.add(subject)
        return has_entered


def _soonest(seconds: Iterator[float]) -> int:
    return max(1, math.ceil(min(seconds, default=1.0)))
