"""Rules of limits: which pairs there are, one of each, amounts in range, and errors that name the entry."""

from typing import Any

import pytest

from manager import limits
from manager.errors import Invalid
from shared.models import WINDOWS, Limit, Measure, OnOutage, Scope, Window

PAIRS = [(measure, window) for measure in Measure for window in Window if window in WINDOWS[measure]]
OTHERS = [(measure, window) for measure in Measure for window in Window if window not in WINDOWS[measure]]
MOST = 2**53


def entry(measure: str = "tokens", window: str | None = "day", amount: Any = 10, **more: Any) -> dict[str, Any]:
    fields = {"measure": measure, "amount": amount, "on_outage": "closed", **more}
    return fields if window is None else fields | {"window": window}


def fault(*entries: dict[str, Any], scope: Scope = Scope.PROJECT) -> str:
    with pytest.raises(Invalid) as caught:
        limits.check(entries, scope)
    assert caught.value.field == "limits"
    return str(caught.value)


@pytest.mark.parametrize("scope", [Scope.PROJECT, Scope.GLOBAL])
@pytest.mark.parametrize(("measure", "window"), PAIRS)
def test_every_pair_that_makes_sense_is_taken(measure: Measure, window: Window, scope: Scope) -> None:
    amount = "1.50" if measure == Measure.COST else 10

    [limit] = limits.check([entry(measure, window, amount)], scope)

    assert limit == Limit(measure, window, 1_500_000_000 if measure == Measure.COST else 10)


@pytest.mark.parametrize(("measure", "window"), OTHERS)
def test_any_other_pair_is_refused_with_what_there_is(measure: Measure, window: Window) -> None:
    told = fault(entry(), entry(measure, window))

    assert told.startswith(f"Entry 2 ({measure} per {window}): {measure} can be limited per ")
    assert told.removesuffix(".").split(" per ")[2].split(", ") == [w for w in Window if w in WINDOWS[measure]]


def test_the_requests_of_a_tokens_life_are_set_as_what_they_are() -> None:
    told = fault(entry("requests", "life"), scope=Scope.TOKEN)

    assert told == "Entry 1 (requests per life): that is `max_requests` of the token, which is set as such."


def test_only_running_requests_need_no_window() -> None:
    assert limits.check([entry("concurrent", None)], Scope.TOKEN) == (Limit(Measure.CONCURRENT, Window.LIFE, 10),)
    assert fault(entry("tokens", None)) == "Entry 1 (tokens): a window is needed: life, minute, day, month."


def test_there_is_one_limit_for_each_pair() -> None:
    told = fault(entry("tokens", "day"), entry("tokens", "month"), entry("tokens", "day", 20))

    assert told == "Entry 3 (tokens per day): there is such a limit before it."


@pytest.mark.parametrize("amount", [1, MOST])
def test_amounts_in_range_are_taken(amount: int) -> None:
    assert limits.check([entry(amount=amount)], Scope.TOKEN)[0].amount == amount


@pytest.mark.parametrize("amount", [0, -1, MOST + 1, "10"], ids=str)
def test_amounts_out_of_range_are_refused(amount: object) -> None:
    assert (
        fault(entry(amount=amount)) == f"Entry 1 (tokens per day): the amount must be a whole number from 1 to {MOST}."
    )


@pytest.mark.parametrize(("text", "nano"), [("0.000000001", 1), ("12.50", 12_500_000_000), ("9007199.254740992", MOST)])
def test_money_is_dollars_outside_and_nano_usd_inside(text: str, nano: int) -> None:
    assert limits.check([entry("cost", "day", text)], Scope.TOKEN)[0].amount == nano


@pytest.mark.parametrize("amount", [10, "ten", "-1", "0.0000000001", "9007199.254740993"], ids=str)
def test_what_is_no_money_is_refused(amount: object) -> None:
    assert fault(entry("cost", "day", amount)).startswith("Entry 1 (cost per day): the amount must be US dollars as a")


def test_no_money_at_all_is_no_limit() -> None:
    assert fault(entry("cost", "day", "0.00")) == "Entry 1 (cost per day): the amount must be more than nothing."


@pytest.mark.parametrize("window", ["second", "minute", "hour", "day"])
def test_rates_of_requests_have_a_burst(window: str) -> None:
    assert limits.check([entry("requests", window, burst=3)], Scope.TOKEN)[0].burst == 3


@pytest.mark.parametrize(("measure", "window"), [("requests", "life"), ("tokens", "minute"), ("concurrent", "life")])
def test_nothing_else_has_a_burst(measure: str, window: str) -> None:
    told = fault(entry(measure, window, burst=3))

    assert told == f"Entry 1 ({measure} per {window}): a burst is for requests per second, minute, hour or day."


@pytest.mark.parametrize("burst", [0, -1, MOST + 1])
def test_bursts_out_of_range_are_refused(burst: int) -> None:
    assert "the burst must be a whole number" in fault(entry("requests", "day", burst=burst))


@pytest.mark.parametrize("on_outage", OnOutage)
def test_what_is_shown_can_be_set_again(on_outage: OnOutage) -> None:
    wanted = [entry("cost", "life", "0.10", on_outage=on_outage), entry("requests", "hour", 7, burst=2)]

    checked = limits.check(wanted, Scope.TOKEN)

    shown = limits.shown(checked)
    assert [(one["amount"], one["burst"], one["on_outage"]) for one in shown] == [
        ("0.10", None, on_outage.value),
        (7, 2, "closed"),
    ]
    assert limits.check(shown, Scope.TOKEN) == checked
