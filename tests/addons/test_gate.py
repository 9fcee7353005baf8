"""Rules of the gate: what is noted of those who come in, and of those who do not."""

from dataclasses import replace

import pytest

from addons.call import Call, Calls
from addons.gate import Gate
from addons.holds import Holds
from addons.outage import Outage
from addons.refusal import Refused
from addons.route_table import RouteTable
from addons.store import StoreUnavailable
from shared.models import (
    NOTHING,
    Amounts,
    Caller,
    Denial,
    Limit,
    LimitState,
    Measure,
    OnOutage,
    Scope,
    Window,
)
from shared.redis_schema import Denied
from tests.addons.fakes import FULL, FakeStore, Verdict

STATE = LimitState(Scope.PROJECT, Measure.REQUESTS, Window.MINUTE, 60, 12, 5_000)


class World:
    """A gate over a fake store, and a call that comes to it."""

    def __init__(
        self, calls: Calls, table: RouteTable, *verdicts: Verdict, seen: Caller | Denied | None = None
    ) -> None:
        self.store = FakeStore(*verdicts, seen=seen)
        self.holds = Holds()
        self.gate = Gate(self.store, table, self.holds, Outage(calls, 1))  # type: ignore[arg-type]
        self.call = Call(candidates=table.current.match("POST", "/v1/chat/completions").routes)

    async def enter(self, amounts: Amounts = NOTHING) -> str | None:
        """Return the code of the refusal, if there is one."""
        try:
            await self.gate.enter(self.call, ["openai"], "POST", amounts)
        except Refused as refused:
            return refused.refusal.code
        return None


async def test_a_caller_who_is_let_in_is_noted_with_its_hold(
    calls: Calls, route_table: RouteTable, caller: Caller
) -> None:
    world = World(calls, route_table, replace(caller, hold=b"held", standing=(STATE,)))

    assert await world.enter() is None

    assert world.call.is_admitted and world.call.token_id == "token-1" and world.call.standing == (STATE,)
    assert world.holds.of(world.call.request_id) == b"held"


async def test_a_caller_of_whom_more_must_be_known_is_not_in_yet(
    calls: Calls, route_table: RouteTable, caller: Caller
) -> None:
    world = World(calls, route_table, replace(caller, sequence=0))

    assert await world.enter(Amounts()) is None

    assert world.call.caller is not None and not world.call.is_admitted and len(world.holds) == 0


async def test_redis_is_told_what_runs(calls: Calls, route_table: RouteTable, caller: Caller) -> None:
    world = World(calls, route_table, replace(caller, hold=b"held"))
    world.call.model, world.call.is_stream, world.call.prompt_estimate = "m", True, 12

    await world.enter(Amounts(20, 5))

    [told] = world.store.requests
    assert world.store.amounts == [Amounts(20, 5)]
    assert (told.request_id, told.provider, told.route) == (world.call.request_id, "openai", "chat.completions")
    assert (told.method, told.model, told.is_stream, told.prompt_tokens) == ("POST", "m", True, 12)
    assert told.occurred_at == world.call.occurred_at


async def test_whose_project_is_refused_is_known(calls: Calls, route_table: RouteTable, caller: Caller) -> None:
    denied = World(calls, route_table, Denied(Denial.TOKEN_EXPIRED, "token-1", "label", caller.project))

    assert await denied.enter() == "token_expired"

    assert denied.call.project_id == caller.project.id


async def test_a_limit_that_denies_is_named(calls: Calls, route_table: RouteTable) -> None:
    denied = Denied(Denial.RATE_LIMIT_EXCEEDED, "token-1", "label", None, STATE, 3_000)
    world = World(calls, route_table, denied)

    assert await world.enter() == "rate_limit_exceeded"

    assert world.call.token_label == "label" and world.call.standing == (STATE,) and not world.call.is_admitted


async def test_a_store_that_cannot_be_asked_lets_nobody_in(calls: Calls, route_table: RouteTable) -> None:
    assert await World(calls, route_table, StoreUnavailable("away")).enter() == "service_unavailable"
    assert await World(calls, route_table, FULL).enter() == "service_unavailable"


@pytest.mark.parametrize(
    ("on_outage", "code"),
    [(OnOutage.CLOSED, "service_unavailable"), (OnOutage.OPEN, None), (OnOutage.LOCAL_SHARE, None)],
)
async def test_each_limit_says_what_holds_while_redis_cannot_count(
    calls: Calls, route_table: RouteTable, caller: Caller, on_outage: OnOutage, code: str | None
) -> None:
    limit = Limit(Measure.REQUESTS, Window.DAY, 1, on_outage=on_outage)
    seen = replace(caller, sequence=0, limits=((Scope.TOKEN, limit),))
    world = World(calls, route_table, FULL, seen=seen)

    assert await world.enter() == code
    assert world.call.is_admitted is (code is None) and len(world.holds) == 0


async def test_who_is_not_known_is_refused_during_an_outage_too(calls: Calls, route_table: RouteTable) -> None:
    world = World(calls, route_table, FULL, seen=Denied(Denial.TOKEN_EXPIRED, "", "", None))

    assert await world.enter() == "token_expired"
