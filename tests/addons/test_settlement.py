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
    ("usage", "status", "has_reached", "actual"),
    [
        (Usage(3, 4, 7), 200, True, Amounts(7, 9)),
        (Usage(3, 4), 200, True, Amounts(7, 9)),
        (Usage(3), 200, True, Amounts(3, 9)),
        (Usage(), 200, True, Amounts(None, 9)),
        (Usage(), 400, True, NOTHING),
        (Usage(3, 4, 7), 400, True, Amounts(7, 9)),
        (Usage(3, None, 3, is_estimate=True), 0, True, Amounts(3, 9)),
        (Usage(), 200, False, NOTHING),
    ],
    ids=["said", "summed", "prompt only", "unsaid", "refused", "charged", "estimated", "not reached"],
)
def test_actual_amounts_follow_what_is_known(
    event: UsageEvent, usage: Usage, status: int, has_reached: bool, actual: Amounts
) -> None:
    assert actual_of(replace(event, usage=usage, status=status), has_reached, 9) == actual


@pytest.mark.parametrize(("standing", "cost"), [((COST,), 9), ((), None)], ids=["money is limited", "it is not"])
def test_a_call_is_settled_with_its_hold(
    admitted: tuple[http.HTTPFlow, Call], event: UsageEvent, standing: tuple[LimitState, ...], cost: int | None
) -> None:
    call, holds, settled = admitted[1], Holds(), list[Settlement]()
    call.credential, call.standing = UpstreamCredential("key-1", "authorization", "Bearer secret"), standing
    holds.keep(call.request_id, b"held")

    Settling(holds, lambda event: 9, settled.append).settle(call, event)

    assert settled == [Settlement(event, b"held", Amounts(7, cost))]


def test_a_call_that_never_went_out_gives_everything_back(
    admitted: tuple[http.HTTPFlow, Call], event: UsageEvent
) -> None:
    settled = list[Settlement]()

    Settling(Holds(), lambda event: 9, settled.append).settle(admitted[1], event)

    assert settled == [Settlement(event, None, NOTHING)]
