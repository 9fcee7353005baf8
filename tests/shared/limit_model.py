"""What limits are meant to do, in plain Python: no strings, whole numbers of any size, dates from the standard library.

Times are microseconds since 1970. Whoever takes something is told by whom it was denied and for how long.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from shared.models import MOST, Limit, Measure, Scope, Window

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
    epoch: int
    tokens: int
    cost: int


class Mark(Enum):
    """What the server remembers of a request that is not open: it was taken for lost, or nothing is to be done."""

    LOST = auto()
    DONE = auto()


@dataclass
class Request:
    """What the server has of it, and what its worker knows of that: None, if not even the admission was heard of."""

    hold: Hold
    expires_at: int
    known: Hold | None = None
    is_open: bool = True
    mark: Mark | None = None
    charged: dict[Name, int] = field(default_factory=dict)

    def hear(self) -> None:
        """The worker has got the reply."""
        self.known = deepcopy(self.hold)


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
    renewed_at: int | None = None
    rates: dict[Name, Rate] = field(default_factory=dict)
    counters: dict[Name, Counter] = field(default_factory=dict)

    def all_limits(self) -> list[tuple[Scope, Limit]]:
        return [(scope, limit) for scope, limits in self.limits.items() for limit in limits]

    def counter(self, name: Name) -> Counter:
        """The counter of now; one of a later period holds."""
        current, _ = period(name[2], self.now)
        known = self.counters.get(name)
        return Counter(current) if known is None or known.period < current else known  # type: ignore[operator]

    def rate(self, name: Name, limit: Limit) -> Rate:
        """The rate as it is now; a clock that went back lets nothing drain until it is there again."""
        known = self.rates.get(name, Rate())
        if known.at >= self.now:
            return replace(known)
        return Rate(max(0, known.level - (self.now - known.at) * limit.amount), self.now)

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
        known = {measure: min(MOST, amount) for measure, amount in known.items()}
        return known | {Measure.REQUESTS: 1, Measure.CONCURRENT: 1}

    def _rate_refusal(self, name: Name, limit: Limit) -> list[Refusal]:
        burst = limit.amount if limit.burst is None else limit.burst
        rate = self.rate(name, limit)
        excess = rate.level - (burst - 1) * SECONDS[limit.window] * 1_000_000
        if limit.amount == 0 or burst == 0:
            return [Refusal(name, -1, 0)]
        wait = milliseconds(rate.at - self.now - (-excess // limit.amount))
        return [Refusal(name, wait, 0)] if excess > 0 else []

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

    def take(self, tokens: int, cost: int, lease: int) -> Request:
        """Take from every limit; there must be no refusal."""
        needs = self.needs(tokens, cost)
        shares: dict[Name, Share] = {}
        self.requests += 1
        for scope, limit in self.all_limits():
            name = name_of(scope, limit)
            if is_rate(limit):
                self.rates[name] = self.rate(name, limit)
                self.rates[name].level += SECONDS[limit.window] * 1_000_000
                continue
            counter = self.add(name, needs[limit.measure])
            if limit.measure is not Measure.REQUESTS:
                shares[name] = Share(limit.measure, counter.period, needs[limit.measure])
        hold = Hold(shares, self.epoch, min(MOST, tokens), min(MOST, cost))
        return Request(hold, self.now // 1000 + lease)

    def add(self, name: Name, amount: int) -> Counter:
        counter = self.counter(name)
        if amount:
            counter.used = min(MOST, max(0, counter.used + amount))
            self.counters[name] = counter
        return counter

    def settle(self, request: Request, tokens: int | None, cost: int | None, is_lost: bool = False) -> int:
        if request.is_open:
            answer, hold = 1, request.hold
            charged = {name: share.reserved for name, share in hold.shares.items()}
        elif request.mark is Mark.LOST and not is_lost:
            answer, hold, charged = 3, request.hold, request.charged
        elif request.mark is None and request.known is not None and request.known.epoch != self.epoch:
            answer, hold, charged = 2, request.known, {}
        else:
            return 0
        needed = {name: self._needed(share, tokens, cost) for name, share in hold.shares.items()}
        for name, share in hold.shares.items():
            self._correct(name, share.period, needed[name] - charged.get(name, 0))
        if is_lost:
            request.mark = Mark.LOST
        elif not request.is_open or request.known != request.hold:
            request.mark = Mark.DONE
        request.is_open, request.charged, request.hold = False, needed, deepcopy(hold)
        return answer

    def _needed(self, share: Share, tokens: int | None, cost: int | None) -> int:
        if share.measure is Measure.CONCURRENT:
            return 0
        actual = tokens if share.measure is Measure.TOKENS else cost
        return share.reserved if actual is None else max(0, min(MOST, actual) - share.before)

    def _correct(self, name: Name, of: Period, change: int) -> None:
        """Change a counter as it was in a period, unless that is over."""
        known = self.counters.get(name)
        if known is None or known.period < of:  # type: ignore[operator]
            known = Counter(of)
        if known.period == of and change:
            known.used = min(MOST, max(0, known.used + change))
            self.counters[name] = known

    def extend(self, request: Request, tokens: int, cost: int, lease: int) -> Refusal | bool:
        """Reserve so much in all; False if the request has been settled."""
        hold = self._to_extend(request)
        if hold is None:
            return False
        hold.tokens, hold.cost = max(hold.tokens, min(MOST, tokens)), max(hold.cost, min(MOST, cost))
        in_all = {Measure.TOKENS: hold.tokens, Measure.COST: hold.cost, Measure.CONCURRENT: 1}
        needs = {name: in_all[share.measure] - share.reserved - share.before for name, share in hold.shares.items()}
        limits = {name_of(scope, limit): limit for scope, limit in self.all_limits()}
        for name, need in needs.items():
            if name in limits and name[1] is not Measure.CONCURRENT and need > 0:
                left = limits[name].amount - self.counter(name).used
                if need > left:
                    return Refusal(name, 0, max(0, left))
        for name, need in needs.items():
            if need > 0:
                self._share_more(name, hold.shares[name], need)
        request.hold, request.expires_at = hold, self.now // 1000 + lease
        request.is_open, request.mark = True, None
        return True

    def _to_extend(self, request: Request) -> Hold | None:
        hold = deepcopy(request.hold)
        if request.is_open:
            return hold
        if request.mark is Mark.LOST:
            for name, share in hold.shares.items():
                share.reserved = request.charged[name]
        elif request.mark is None and request.known is not None and request.known.epoch != self.epoch:
            hold = deepcopy(request.known)
            for share in hold.shares.values():
                share.reserved = share.before = 0
        else:
            return None
        hold.epoch = self.epoch
        return hold

    def _share_more(self, name: Name, share: Share, need: int) -> None:
        counter = self.add(name, need)
        if counter.period != share.period:
            share.before = min(MOST, share.before + share.reserved)
            share.period, share.reserved = counter.period, 0
        share.reserved = min(MOST, share.reserved + need)

    def renew(self, renewed: Sequence[Request], everyone: Sequence[Request], lease: int) -> list[Request]:
        """Renew some requests; find those that nobody has renewed, unless nobody could."""
        now, last = self.now // 1000, self.renewed_at
        self.renewed_at = now
        for request in renewed:
            request.expires_at = now + lease
        running = [request for request in everyone if request.is_open]
        if last is None or now - last > lease / 2:
            for request in running:
                request.expires_at = max(request.expires_at, now + lease)
        return [request for request in running if request.expires_at <= now]

    def lose(self) -> None:
        """Everything but what the workers know."""
        self.renewed_at = None
        self.rates.clear()
        self.counters.clear()
