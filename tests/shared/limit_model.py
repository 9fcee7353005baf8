"""What limits are meant to do, in plain Python: no strings, whole numbers of any size, dates from the standard library.

Times are microseconds since 1970. Whoever takes something is told by whom it was denied and for how long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.models import Limit, Measure, Scope, Window

MOST = 2**53
SECONDS = {Window.SECOND: 1, Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86_400}
type Name = tuple[Scope, Measure, Window]
type Period = int | tuple[int, int]


def name_of(scope: Scope, limit: Limit) -> Name:
    return scope, limit.measure, limit.window


def is_rate(limit: Limit) -> bool:
    return limit.measure is Measure.REQUESTS and limit.window is not Window.LIFE


def period(window: Window, now: int) -> tuple[Period, int | None]:
    """The period of a counter, and when the next begins; None: never."""
    if window is Window.LIFE:
        return 0, None
    if window is Window.MONTH:
        day = datetime.fromtimestamp(now // 1_000_000, UTC).replace(day=1, hour=0, minute=0, second=0)
        following = (day + timedelta(days=31)).replace(day=1)
        return (day.year, day.month), int(following.timestamp()) * 1_000_000
    length = SECONDS[window] * 1_000_000
    return now // length, (now // length + 1) * length


def milliseconds(microseconds: int) -> int:
    return -(-microseconds // 1000)


@dataclass
class Rate:
    """Requests that are still to drain, each worth the microseconds of its window."""

    level: int = 0
    at: int = 0

    def drain(self, amount: int, now: int) -> None:
        if now > self.at:
            self.level, self.at = max(0, self.level - (now - self.at) * amount), now


@dataclass
class Counter:
    period: Period
    used: int = 0


@dataclass
class Share:
    """What one request has taken of one counter: in this period, and in those before."""

    measure: Measure
    period: Period
    reserved: int
    before: int = 0


@dataclass
class Hold:
    shares: dict[Name, Share]
    expires_at: int
    epoch: int
    is_open: bool = True
    is_charged: bool = False


@dataclass
class Refusal:
    name: Name
    wait: int
    remaining: int


@dataclass
class Model:
    limits: dict[Scope, tuple[Limit, ...]]
    max_requests: int | None = None
    requests: int = 0
    now: int = 0
    epoch: int = 0
    rates: dict[Name, Rate] = field(default_factory=dict)
    counters: dict[Name, Counter] = field(default_factory=dict)

    def all_limits(self) -> list[tuple[Scope, Limit]]:
        return [(scope, limit) for scope, limits in self.limits.items() for limit in limits]

    def counter(self, name: Name) -> Counter:
        """The counter of now; one of a later period holds."""
        current, _ = period(name[2], self.now)
        known = self.counters.get(name)
        return Counter(current) if known is None or known.period < current else known  # type: ignore[operator]

    def is_pending(self, tokens: int | None, cost: int | None) -> bool:
        unknown = {Measure.TOKENS} if tokens is None else set()
        unknown |= {Measure.COST} if cost is None else set()
        return any(limit.measure in unknown for _, limit in self.all_limits())

    def refusals(self, tokens: int | None, cost: int | None) -> list[Refusal]:
        needs = self.needs(tokens, cost)
        found: list[Refusal] = []
        if self.max_requests is not None and self.requests >= self.max_requests:
            found.append(Refusal((Scope.TOKEN, Measure.REQUESTS, Window.LIFE), -1, 0))
        for scope, limit in self.all_limits():
            name = name_of(scope, limit)
            if is_rate(limit):
                found += self._rate_refusal(name, limit)
            else:
                found += self._counter_refusal(name, limit, needs[limit.measure])
        return found

    def needs(self, tokens: int | None, cost: int | None) -> Mapping[Measure, int]:
        known = {Measure.TOKENS: 1 if tokens is None else tokens, Measure.COST: 1 if cost is None else cost}
        return known | {Measure.REQUESTS: 1, Measure.CONCURRENT: 1}

    def _rate_refusal(self, name: Name, limit: Limit) -> list[Refusal]:
        burst = limit.amount if limit.burst is None else limit.burst
        rate = self.rates.get(name, Rate())
        rate.drain(limit.amount, self.now)
        excess = rate.level - (burst - 1) * SECONDS[limit.window] * 1_000_000
        if limit.amount == 0 or burst == 0:
            return [Refusal(name, -1, 0)]
        return [Refusal(name, milliseconds(ceil_of(excess, limit.amount)), 0)] if excess > 0 else []

    def _counter_refusal(self, name: Name, limit: Limit, need: int) -> list[Refusal]:
        remaining = limit.amount - self.counter(name).used
        if need == 0 or need <= remaining:
            return []
        _, ends = period(limit.window, self.now)
        if need > limit.amount:
            wait = -1
        elif limit.measure is Measure.CONCURRENT:
            wait = 1000
        else:
            wait = -1 if ends is None else milliseconds(ends - self.now)
        return [Refusal(name, wait, max(0, remaining))]

    def take(self, tokens: int, cost: int, lease: int) -> Hold:
        """Take from every limit; there must be no refusal."""
        needs = self.needs(tokens, cost)
        shares: dict[Name, Share] = {}
        self.requests += 1
        for scope, limit in self.all_limits():
            name = name_of(scope, limit)
            if is_rate(limit):
                rate = self.rates.setdefault(name, Rate())
                rate.drain(limit.amount, self.now)
                rate.level += SECONDS[limit.window] * 1_000_000
                continue
            counter = self.add(name, needs[limit.measure])
            if limit.measure is not Measure.REQUESTS:
                shares[name] = Share(limit.measure, counter.period, needs[limit.measure])
        return Hold(shares, self.now // 1000 + lease, self.epoch)

    def add(self, name: Name, amount: int) -> Counter:
        counter = self.counter(name)
        if amount:
            counter.used = min(MOST, max(0, counter.used + amount))
            self.counters[name] = counter
        return counter

    def settle(self, hold: Hold, tokens: int | None, cost: int | None) -> int:
        was_open, hold.is_open = hold.is_open, False
        if not was_open and (hold.epoch == self.epoch or hold.is_charged):
            return 0
        hold.is_charged = hold.is_charged or not was_open
        for name, share in hold.shares.items():
            actual = {Measure.TOKENS: tokens, Measure.COST: cost, Measure.CONCURRENT: 0}[share.measure]
            if share.measure is Measure.CONCURRENT and not was_open:
                continue
            total = share.reserved + share.before if actual is None else actual
            change = max(0, total - share.before) - (share.reserved if was_open else 0)
            known = self.counters.get(name)
            if known is None or known.period < share.period:  # type: ignore[operator]
                known = Counter(share.period)
            if known.period == share.period and change:
                known.used = min(MOST, max(0, known.used + change))
                self.counters[name] = known
        return 1 if was_open else 2

    def extension_refusal(self, hold: Hold, more: Mapping[Measure, int]) -> Refusal | None:
        limits = {name_of(scope, limit): limit for scope, limit in self.all_limits()}
        for name, share in hold.shares.items():
            need = more.get(share.measure, 0)
            if need and name in limits and need > limits[name].amount - self.counter(name).used:
                return Refusal(name, 0, max(0, limits[name].amount - self.counter(name).used))
        return None

    def extend(self, hold: Hold, more: Mapping[Measure, int], lease: int) -> None:
        for name, share in hold.shares.items():
            if need := more.get(share.measure, 0):
                counter = self.add(name, need)
                if counter.period != share.period:
                    share.period, share.reserved, share.before = counter.period, 0, share.before + share.reserved
                share.reserved += need
        hold.expires_at = self.now // 1000 + lease

    def lose(self) -> None:
        """Everything but who had which hold."""
        self.rates.clear()
        self.counters.clear()


def ceil_of(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
