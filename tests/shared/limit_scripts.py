"""Runs the scripts about limits as the planes do, with a clock that the tests set."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import redis

from shared import holds_schema, redis_schema
from shared.holds_schema import Counter, NotExtended, OpenRequest
from shared.limits_schema import encode_limits
from shared.models import Amounts, Caller, Limit, Outcome, Project, Scope, Token, UpstreamKey, Usage, UsageEvent
from shared.redis_schema import Denied

DIGEST = "ab" * 32
PROJECT = Project("p1", "openai", True, "", (UpstreamKey("k1", "v1.k1.sealed"),), 1)
TOKEN = Token("t1", DIGEST, "p1", "demo", True, datetime(2100, 1, 1, tzinfo=UTC), None, 0, None, 1)
START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
EVENT = UsageEvent(
    "r1", START, "p1", "t1", "k1", 1, "openai", "chat.completions", "POST", "gpt-4o", 200,
    Outcome.FINISHED, None, False, 1, 100, 2000, 812.5, 101.25, Usage(1, 2, 3),
)  # fmt: skip
# The one line of the scripts that asks for the time, and what asks the tests instead.
READS_CLOCK = "local time = redis.call('TIME')"
READS_TEST_CLOCK = "local time = {string.match(redis.call('GET', '{v1}test-clock'), '(%d+) (%d+)')}"
LEASE_MS = 10_000


def counter(used: int, period: int = 0) -> bytes:
    """A counter as it is written."""
    return msgspec.msgpack.encode(period) + msgspec.msgpack.encode(used)


def shown(counter: bytes) -> str:
    """A counter as text: its period, a colon, and what has been used in it."""
    # The two numbers, with the beginning of an array of two before them.
    period, used = msgspec.msgpack.decode(b"\x92" + counter)
    return f"{period or ''}:{used}"


def with_test_clock(name: str) -> str:
    """The product's script, word for word but for the line that asks the server for the time."""
    source = redis_schema.script(name)
    expected = 0 if name in ("bury", "settle", "restore", "publish_token", "publish_project") else 1
    assert source.count(READS_CLOCK) == source.count("'TIME'") == expected
    return source.replace(READS_CLOCK, READS_TEST_CLOCK)


class Limits:
    """One token of one project, its limits, and a clock (microseconds since 1970) that stands still."""

    NAMES = ("admit", "bury", "extend", "leases", "restore", "settle", "publish_token", "publish_project")

    def __init__(self, client: redis.Redis, epoch: str = "e1") -> None:
        self.client = client
        self._scripts = {name: client.register_script(with_test_clock(name)) for name in self.NAMES}
        self.project, self.token = PROJECT, TOKEN
        self.declare(epoch)
        self.at(START)
        self.limit()

    def declare(self, epoch: str) -> None:
        self.client.set(redis_schema.EPOCH, epoch)

    def at(self, moment: datetime | int) -> None:
        self.now = moment if isinstance(moment, int) else round(moment.timestamp() * 1_000_000)
        self.client.set("{v1}test-clock", f"{self.now // 1_000_000} {self.now % 1_000_000}")

    def wait(self, microseconds: int) -> None:
        self.at(self.now + microseconds)

    def limit(
        self, token: Sequence[Limit] = (), project: Sequence[Limit] = (), everyone: Sequence[Limit] = (),
        max_requests: int | None = None,
    ) -> "Limits":  # fmt: skip
        """Publish these limits in the place of all others."""
        self.token = replace(self.token, limits=tuple(token), max_requests=max_requests, version=self.token.version + 1)
        self.project = replace(self.project, limits=tuple(project), version=self.project.version + 1)
        self._scripts["publish_token"](*redis_schema.encode_token(self.token))
        self._scripts["publish_project"](*redis_schema.encode_project(self.project))
        self.client.set(redis_schema.GLOBAL_LIMITS, encode_limits(everyone))
        return self

    def admit(
        self, tokens: int | None = 0, cost: int | None = 0, request_id: str = "r1", is_peek: bool = False
    ) -> Caller | Denied:
        request = OpenRequest(request_id, START, "openai", "chat.completions", "POST")
        keys, arguments = redis_schema.encode_admission(
            DIGEST,
            ["openai"],
            Amounts(tokens, cost),
            holds_schema.encode_request(request),
            LEASE_MS,
            is_peek,
            request_id,
        )
        return redis_schema.decode_admission(self._scripts["admit"](keys, arguments))

    def hold(self, tokens: int | None = 0, cost: int | None = 0, request_id: str = "r1") -> bytes:
        """Admit, which must succeed."""
        caller = self.admit(tokens, cost, request_id)
        assert isinstance(caller, Caller), caller
        assert caller.hold is not None
        return caller.hold

    def settle(
        self, hold: bytes | None, tokens: int | None = 0, cost: int | None = 0, request_id: str = "r1",
        is_lost: bool = False,
    ) -> int:  # fmt: skip
        """Settle; a hold tells whose it is."""
        request_id = holds_schema.decode_hold(hold).request.request_id if hold else request_id
        event = replace(EVENT, request_id=request_id, outcome=Outcome.LOST if is_lost else EVENT.outcome)
        return int(self._scripts["settle"](*holds_schema.encode_settlement(hold, event, Amounts(tokens, cost))))

    def extend(self, hold: bytes, tokens: int = 0, cost: int = 0) -> bytes | NotExtended:
        """Reserve so much in all."""
        keys, arguments = holds_schema.encode_extension(hold, Amounts(tokens, cost), LEASE_MS)
        return holds_schema.decode_extension(self._scripts["extend"](keys, arguments))

    def expired(self, renewed: Iterable[str] = (), at_most: int = 100) -> dict[str, bytes]:
        """Renew these; find those that nobody has renewed."""
        reply = self._scripts["leases"](*holds_schema.encode_leases(renewed, at_most, LEASE_MS))
        return dict(holds_schema.decode_leases(reply))

    def outlast(self, milliseconds: int) -> None:
        """Wait while some other worker comes regularly."""
        self.expired(at_most=0)
        step = LEASE_MS // 2
        for _ in range(milliseconds // step):
            self.wait(step * 1000)
            self.expired(at_most=0)
        self.wait(milliseconds % step * 1000)

    def bury(self, request_id: str, hold: bytes, reason: str) -> int:
        return int(self._scripts["bury"](*holds_schema.encode_burial(request_id, hold, reason)))

    def restore(self, scope: Scope, scope_id: str, *counters: Counter, forget_at_ms: int | None = None) -> int:
        return int(self._scripts["restore"](*holds_schema.encode_restore(scope, scope_id, counters, forget_at_ms)))

    def used(self, scope: Scope = Scope.TOKEN) -> dict[str, str]:
        """What Redis says has been used in a scope."""
        found = self.client.hgetall(redis_schema.used_key(scope, "t1"))
        used = {name.decode(): shown(value) for name, value in found.items()}
        if scope is Scope.PROJECT:
            return {name[3:]: value for name, value in used.items() if name.startswith("p1:")}
        return {name: value for name, value in used.items() if not name.startswith("p1:")}

    def open(self) -> dict[bytes, int]:
        """The holds, each with the milliseconds until its lease expires."""
        found = self.client.zrange(redis_schema.OPEN, 0, -1, withscores=True)
        holds = self.client.hgetall(redis_schema.HOLDS)
        assert {request_id for request_id, _ in found} == set(holds)
        return {holds[request_id]: int(score) - self.now // 1000 for request_id, score in found}

    def events(self) -> int:
        return int(self.client.xlen(redis_schema.USAGE_STREAM))
