"""Rules of plans: targets that can be asked, and turns that are fair and add up."""

import json

import pytest

from manager.benchmark.legs import Leg, legs, share
from manager.benchmark.plan import Plan, PlanError, Step, Target

DIRECT, PROXY = Target("direct", "http://127.0.0.1:1"), Target("proxy", "https://proxy.example.org/llm/v1/", "secret")


@pytest.mark.parametrize(
    ("url", "endpoint", "path"),
    [
        ("http://h", "/v1/chat", "/v1/chat"),
        ("http://h/v1", "/v1/chat", "/v1/chat"),
        ("http://h/llm/v1/", "/v1/chat", "/llm/v1/chat"),
        ("http://h/llm/v1/", "/health", "/llm/v1/health"),
    ],
)
def test_endpoints_are_below_the_target(url: str, endpoint: str, path: str) -> None:
    assert Target("t", url).path(endpoint) == path


def test_ports_are_those_of_the_scheme_unless_told() -> None:
    assert (DIRECT.port, DIRECT.is_tls, PROXY.port, PROXY.is_tls) == (1, False, 443, True)


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://u:p@h", "http://h?key=1", "http://h:99999", "http://h#f", "http://[::1"]
)
def test_a_target_without_a_sensible_url_is_refused(url: str) -> None:
    with pytest.raises(PlanError, match="URL of t "):
        Target("t", url)


def test_a_token_is_neither_shown_nor_told() -> None:
    plan = Plan((PROXY,), (Step((1, 1), seconds=1),), headers=(("x-key", "secret"),))

    assert "secret" not in repr(plan) + json.dumps(plan.as_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step((1, 1)),
        lambda: Step((1, 1), seconds=1, requests=1),
        lambda: Step((1, 5), requests=9),
        lambda: Step((1, 1), (5, 9), requests=9),
        lambda: Plan((), (Step((1, 1), seconds=1),)),
        lambda: Plan((DIRECT, DIRECT), (Step((1, 1), seconds=1),)),
        lambda: Plan((DIRECT,), ()),
        lambda: Plan((DIRECT,), (Step((1, 1), seconds=1),), endpoint="v1"),
        lambda: Plan((DIRECT,), (Step((1, 1), seconds=1),), endpoint="/a HTTP/1.1\r\n"),
    ],
    ids=["no end", "two ends", "ramp", "rate ramp", "no target", "twins", "no step", "relative", "split"],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(PlanError):
        make()


def test_one_target_does_each_step_at_a_stretch_after_warming_up() -> None:
    plan = Plan((DIRECT,), (Step((1, 1), seconds=4), Step((8, 8), requests=100)), warm_up_s=2)

    assert list(legs(plan)) == [
        Leg(-1, 0, Step((1, 1), seconds=2)),
        Leg(0, 0, Step((1, 1), seconds=4)),
        Leg(1, 0, Step((8, 8), requests=100)),
    ]


def test_several_targets_take_turns_and_neither_is_always_first() -> None:
    plan = Plan((DIRECT, PROXY), (Step((4, 4), seconds=12),))

    turns = [(leg.target, leg.turn, leg.load.seconds) for leg in legs(plan)]

    assert turns[:5] == [(0, 0, 2), (1, 0, 2), (1, 1, 2), (0, 1, 2), (0, 2, 2)]
    assert sum(seconds or 0 for target, _, seconds in turns if target == 0) == pytest.approx(12)


def test_turns_share_requests_without_losing_any() -> None:
    plan = Plan((DIRECT, PROXY), (Step((4, 4), requests=100),))

    found = [leg.load.requests or 0 for leg in legs(plan) if leg.target == 1]

    assert sum(found) == 100 and len(found) > 1 and max(found) - min(found) <= 1


def test_a_ramp_goes_on_from_turn_to_turn() -> None:
    plan = Plan((DIRECT, PROXY), (Step((1, 61), (100, 700), seconds=60),))

    parts = [(leg.load.concurrency, leg.load.rate) for leg in legs(plan) if leg.target == 0]

    assert parts[0] == ((1, 11), (100, 200)) and parts[-1] == ((51, 61), (600, 700))


@pytest.mark.parametrize(("rate", "most"), [(None, 3), ((10.0, 10.0), 3)])
def test_no_process_takes_part_without_a_connection(rate: tuple[float, float] | None, most: int) -> None:
    assert Leg(0, 0, Step((3, 3), rate, seconds=1)).workers(8) == most


def test_shares_add_up() -> None:
    assert [share(10, number, 4) for number in range(4)] == [2, 3, 2, 3]


def test_steps_are_told_in_words() -> None:
    steps = [Step((1, 1), seconds=1), Step((1, 64), seconds=1), Step((9, 9), (50, 50), seconds=1)]

    assert [step.name for step in steps] == ["1 connection", "1–64 connections", "50/s"]
