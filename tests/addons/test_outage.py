"""Rules of an outage: each limit's own word holds, and shares of all workers together never exceed it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from mitmproxy import http

from addons.call import Call, Calls
from addons.outage import Outage
from addons.refusal import Refused
from shared.models import NOTHING, Amounts, Caller, Limit, Measure, OnOutage, Scope, Window

SHARED = OnOutage.LOCAL_SHARE


def limited(caller: Caller, *limits: Limit) -> Caller:
    return replace(caller, limits=tuple((Scope.TOKEN, limit) for limit in limits))


def entered(outage: Outage, caller: Caller, amounts: Amounts = NOTHING) -> bool:
    try:
        return outage.enter(Call(), caller, amounts)
    except Refused as refused:
        assert refused.refusal.status == 503
        return False


def test_a_closed_limit_lets_nobody_in(calls: Calls, caller: Caller) -> None:
    one = limited(
        caller,
        Limit(Measure.REQUESTS, Window.DAY, 100, on_outage=OnOutage.OPEN),
        Limit(Measure.REQUESTS, Window.MINUTE, 100, on_outage=OnOutage.CLOSED),
    )

    assert not entered(Outage(calls, 1), one)


def test_open_limits_and_none_at_all_let_everybody_in(calls: Calls, caller: Caller) -> None:
    outage = Outage(calls, 1)
    one = limited(caller, Limit(Measure.REQUESTS, Window.DAY, 1, on_outage=OnOutage.OPEN))

    assert [entered(outage, one) for _ in range(3)] == [True] * 3
    assert entered(outage, caller)


@pytest.mark.parametrize(("workers", "admitted"), [(1, 10), (3, 3), (4, 2), (11, 0)])
def test_a_share_is_the_limit_divided_by_the_workers(calls: Calls, caller: Caller, workers: int, admitted: int) -> None:
    outage = Outage(calls, workers, lambda: 1000.0)
    one = limited(caller, Limit(Measure.REQUESTS, Window.MINUTE, 10, on_outage=SHARED))

    assert sum(entered(outage, one) for _ in range(20)) == admitted


@pytest.mark.parametrize(
    ("window", "seconds", "is_anew"),
    [
        (Window.SECOND, 1, True),
        (Window.MINUTE, 59, False),
        (Window.MINUTE, 60, True),
        (Window.HOUR, 3600, True),
        (Window.DAY, 3600, False),
        (Window.DAY, 86400, True),
        (Window.MONTH, 86400 * 31, True),
        (Window.LIFE, 86400 * 1000, False),
    ],
)
def test_a_share_starts_anew_with_its_window(
    calls: Calls, caller: Caller, window: Window, seconds: int, is_anew: bool
) -> None:
    now = [1_772_323_200.0]  # The first of March 2026, at midnight.
    outage = Outage(calls, 1, lambda: now[0])
    one = limited(caller, Limit(Measure.TOKENS, window, 5, on_outage=SHARED))
    assert entered(outage, one, Amounts(5, 0)) and not entered(outage, one, Amounts(1, 0))

    now[0] += seconds

    assert entered(outage, one, Amounts(5, 0)) is is_anew


def test_tokens_of_a_project_are_shared_by_its_callers(calls: Calls, caller: Caller) -> None:
    outage = Outage(calls, 1, lambda: 1000.0)
    one = replace(caller, limits=((Scope.PROJECT, Limit(Measure.TOKENS, Window.DAY, 10, on_outage=SHARED)),))
    other = replace(one, token_id="token-2")
    elsewhere = replace(one, project=replace(caller.project, id="project-2"))

    assert entered(outage, one, Amounts(7, 0)) and not entered(outage, other, Amounts(4, 0))
    assert entered(outage, elsewhere, Amounts(4, 0))


def test_what_is_needed_must_be_known_where_it_counts(calls: Calls, caller: Caller) -> None:
    outage = Outage(calls, 1)
    by_tokens = limited(caller, Limit(Measure.TOKENS, Window.DAY, 10, on_outage=SHARED))
    by_requests = limited(caller, Limit(Measure.REQUESTS, Window.DAY, 1, on_outage=SHARED))

    assert outage.enter(Call(), by_tokens, Amounts()) is False
    assert outage.enter(Call(), by_requests, Amounts()) is True


def _response(outage: Outage, flow: http.HTTPFlow) -> None:
    outage.response(flow)


def _error(outage: Outage, flow: http.HTTPFlow) -> None:
    outage.error(flow)


def _closed(outage: Outage, flow: http.HTTPFlow) -> None:
    outage.websocket_end(flow)


@pytest.mark.parametrize("end", [_response, _error, _closed], ids=["response", "error", "websocket"])
def test_a_request_that_ends_makes_room_for_another(
    admitted: tuple[http.HTTPFlow, Call],
    calls: Calls,
    caller: Caller,
    end: Callable[[Outage, http.HTTPFlow], None],
) -> None:
    flow, call = admitted
    outage = Outage(calls, 1)
    one = limited(caller, Limit(Measure.CONCURRENT, Window.LIFE, 1, on_outage=SHARED))
    assert outage.enter(call, one, NOTHING)
    assert not entered(outage, one)

    end(outage, flow)
    end(outage, flow)

    assert entered(outage, one) and not entered(outage, one)
