"""What Redis is told that a request really needed."""

from dataclasses import replace
from datetime import datetime

import pytest
from mitmproxy import http

from addons.call import Call, UpstreamCredential
from addons.holds import Holds
from addons.settlement import Settlement, Settling, actual_of
from shared.models import NOTHING, Amounts, LimitState, Measure, Outcome, Scope, Usage, UsageEvent, Window

COST = LimitState(Scope.TOKEN, Measure.COST, Window.DAY, 100, 50, 1)


@pytest.fixture
def event(moment: datetime) -> UsageEvent:
    return UsageEvent(
        "0", moment, "p", "t", "k", 1, "openai", "models", "GET", None, 200, Outcome.FINISHED, None, False, 1, 0, 2,
        1.0, 0.5, Usage(3, 4, 7),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "status", "has_gone_out", "actual"),
    [
        (Usage(3, 4, 7), 200, True, Amounts(7, 9)),
        (Usage(3, 4), 200, True, Amounts(7, 9)),
        (Usage(3), 200, True, Amounts(3, 9)),
        (Usage(1000, 500, 0), 200, True, Amounts(1500, 9)),
        (Usage(3, 4, 20), 200, True, Amounts(20, 9)),
        (Usage(None, None, 5), 200, True, Amounts(5, 9)),
        (Usage(), 200, True, Amounts()),
        (Usage(None, 0, 0, is_estimate=True), 200, True, Amounts()),
        (Usage(), 400, True, NOTHING),
        (Usage(3, 4, 7), 400, True, Amounts(7, 9)),
        (Usage(3, None, 3, is_estimate=True), 0, True, Amounts(3, 9)),
        (Usage(3, 4, 7), 200, False, NOTHING),
    ],
    ids=[
        *("said", "summed", "prompt only", "a total that is too small", "a total that is larger", "total only"),
        *("unsaid", "an estimate without its prompt", "refused", "charged", "estimated", "not gone out"),
    ],
)
def test_actual_amounts_follow_what_is_known(
    event: UsageEvent, usage: Usage, status: int, has_gone_out: bool, actual: Amounts
) -> None:
    assert actual_of(replace(event, usage=usage, status=status), has_gone_out, 9) == actual


@pytest.mark.parametrize(
    ("is_stream", "first_byte_ms", "actual"),
    [(False, None, Amounts()), (False, 1.0, Amounts(3, 9)), (True, None, Amounts(3, 9))],
    ids=["an answer that may be made yet", "one that has begun", "a stream, which ends with us"],
)
def test_what_a_provider_may_still_make_for_nobody_keeps_its_reservation(
    event: UsageEvent, is_stream: bool, first_byte_ms: float | None, actual: Amounts
) -> None:
    usage = Usage(3, 0, 3, is_estimate=True)

    assert actual_of(replace(event, usage=usage, is_stream=is_stream, first_byte_ms=first_byte_ms), True, 9) == actual


@pytest.mark.parametrize(("standing", "cost"), [((COST,), 9), ((), None)], ids=["money is limited", "it is not"])
def test_a_call_is_settled_with_its_hold(
    admitted: tuple[http.HTTPFlow, Call], event: UsageEvent, standing: tuple[LimitState, ...], cost: int | None
) -> None:
    call, holds, settled = admitted[1], Holds(), list[Settlement]()
    assert call.caller is not None
    call.attempts.count, call.caller = 1, replace(call.caller, standing=standing)
    holds.keep(call.request_id, b"held")

    Settling(holds, lambda event: 9, settled.append).settle(call, event)

    assert settled == [Settlement(event, b"held", Amounts(7, cost))]


def test_a_call_that_never_went_out_gives_everything_back(
    admitted: tuple[http.HTTPFlow, Call], event: UsageEvent
) -> None:
    settled = list[Settlement]()
    admitted[1].credential = UpstreamCredential("key-1", "authorization", "Bearer secret")

    Settling(Holds(), lambda event: 9, settled.append).settle(admitted[1], event)

    assert settled == [Settlement(event, None, NOTHING)]
